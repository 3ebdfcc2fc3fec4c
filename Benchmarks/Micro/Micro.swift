import Base
import Benchmark

let benchmarks: @Sendable () -> Void = {
  let block = [UInt8](repeating: 0x5A, count: 64 << 10)
  Benchmark("CRC-32C of 64 KiB") { benchmark in
    for _ in benchmark.scaledIterations {
      block.withUnsafeBytes { blackHole(CRC32C.checksum($0)) }
    }
  }
}

import Base
import Broker
import Environment
import NIOCore
import NIOServer
import Synchronization

#if canImport(Glibc)
  import Glibc
#elseif canImport(Darwin)
  import Darwin
#endif

/// A real file in the temporary directory, unlinked at once; or none behind it (`descriptor` nil), with bytes in memory.
final class TestFile: DiskFile {
  let bytes: [UInt8]
  let descriptor: CInt?

  init(_ bytes: [UInt8], onDisk: Bool) {
    self.bytes = bytes
    guard onDisk else {
      self.descriptor = nil
      return
    }
    var template = Array("/tmp/apus-test-XXXXXX".utf8CString)
    let descriptor = mkstemp(&template)
    precondition(descriptor >= 0)
    unlink(template)
    precondition(bytes.withUnsafeBytes { pwrite(descriptor, $0.baseAddress, $0.count, 0) } == bytes.count)
    self.descriptor = descriptor
  }

  deinit { if let descriptor = self.descriptor { close(descriptor) } }

  func byteCount() throws(DiskError) -> Int64 { Int64(self.bytes.count) }
  func write(_ bytes: UnsafeRawBufferPointer, at position: Int64) throws(DiskError) {}
  func write(_ head: UnsafeRawBufferPointer, _ body: UnsafeRawBufferPointer, at position: Int64) throws(DiskError) {}
  func read(into buffer: UnsafeMutableRawBufferPointer, at position: Int64) throws(DiskError) -> Int {
    let part = self.bytes.dropFirst(Int(position)).prefix(buffer.count)
    buffer.copyBytes(from: part)
    return part.count
  }
  func truncate(to byteCount: Int64) throws(DiskError) {}
  func reserve(upTo byteCount: Int64) throws(DiskError) {}
  func sync() throws(DiskError) {}
}

typealias Machine = ConnectionMachine

/// A frame with its length in front.
func framed(_ body: [UInt8]) -> [UInt8] { framed(Int32(body.count), body) }

func framed(_ length: Int32, _ body: [UInt8]) -> [UInt8] {
  (0..<4).map { UInt8(truncatingIfNeeded: length >> (24 - 8 * $0)) } + body
}

func pattern(_ count: Int, seed: Int = 0) -> [UInt8] { (0..<count).map { UInt8(truncatingIfNeeded: $0 &* 31 &+ seed &* 7) } }

import Base
import Compression
import Model
import NIOCore
import Testing

@testable import Records

@Suite struct RecordBatchValidatorTests {
  @Test(arguments: CompressionCodec.allCases)
  func aBuiltBatchIsTaken(codec: CompressionCodec) throws {
    let workspace = RecordWorkspace()
    var builder = RecordBatchBuilder(RecordBatchBuilder.Attributes(codec: codec))
    for number in 0..<10 {
      try builder.append(timestamp: Timestamp(1_000 + Int64(number)), key: ByteBuffer(string: "k\(number)"), value: ByteBuffer(string: "v"))
    }
    let bytes = try builder.finish(using: workspace.compressor)
    for scans in [false, true] {
      let validator = RecordBatchValidator(rules: BatchRules(scansCompressedRecords: scans))
      let batch = try validator.validate(bytes, produceVersion: 9, now: Timestamp(2_000), workspace: workspace)
      #expect(batch.recordCount == 10)
      #expect(batch.header.maxTimestamp == Timestamp(1_009))
    }
  }
}

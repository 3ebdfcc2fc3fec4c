import Base
import Compression
import Metadata
import Model
import NIOCore
import Records
import Testing
import VirtualWorld
import Wire

@testable import Broker

/// What `compression.type` and `records.validation` make of what producers send.
@Suite("Compression and validation of produced batches")
struct StoredCompressionTests {
  private static let targets: [(name: String, codec: CompressionCodec)] = [
    ("uncompressed", .none), ("gzip", .gzip), ("snappy", .snappy), ("lz4", .lz4), ("zstd", .zstd),
  ]

  private func stored(_ node: TestNode, _ topic: String) throws -> [RecordBatchView] {
    let data = try #require(try node.ask(fetchRequest(topic, from: 0), version: 12).onlyPartition)
    guard case .bytes(let bytes)? = data.records else { return [] }
    var batches: [RecordBatchView] = []
    var sequence = BatchSequence(bytes)
    while let batch = try sequence.next() { batches.append(batch) }
    return batches
  }

  private func produce(_ node: TestNode, _ topic: String, _ records: ByteBuffer) throws -> ProduceResponse.PartitionProduceResponse {
    let response = try node.ask(produceRequest(topic, records), version: 12)
    return try #require(response.responses.first?.partitionResponses.first)
  }

  private static let values = (0..<50).map { "a value that says the same again and again, number \($0)" }

  @Test("Every codec into every other", arguments: CompressionCodec.allCases)
  func codecs(source: CompressionCodec) throws {
    let node = try TestNode()
    for (name, codec) in Self.targets {
      try node.createTopic(name, configs: ["compression.type": name])
      let sent = try batch(Self.values, codec: source, producer: 7, epoch: 3, sequence: 0)
      let first = try self.produce(node, name, sent)
      #expect(first.errorCode == .none && first.baseOffset == 0 && first.logAppendTimeMs == -1)
      let kept = try #require(try self.stored(node, name).first)
      #expect(kept.codec == codec)
      let original = try RecordBatchView(frontOf: sent).header
      #expect(kept.header.producerID == ProducerID(7) && kept.header.producerEpoch == ProducerEpoch(3) && kept.header.baseSequence == 0)
      #expect(kept.header.baseTimestamp == original.baseTimestamp && kept.header.maxTimestamp == original.maxTimestamp)
      #expect(kept.header.recordCount == 50 && kept.header.lastOffset == Offset(49))
      if source == codec { #expect(kept.bytes.readableBytes == sent.readableBytes, "what has the codec already is kept as it came") }
      // The same again is known by its sequence, whatever became of its bytes.
      let again = try self.produce(node, name, sent)
      #expect(again.errorCode == .none && again.baseOffset == 0)
      #expect(try node.consume(name) == Self.values)
    }
  }

  @Test("producer keeps every batch as it came")
  func producer() throws {
    let node = try TestNode()
    try node.createTopic("t")
    for codec in CompressionCodec.allCases {
      #expect(try self.produce(node, "t", try batch(Self.values, codec: codec)).errorCode == .none)
    }
    #expect(try self.stored(node, "t").map(\.codec) == CompressionCodec.allCases)
  }

  @Test("LogAppendTime is set on what was compressed anew")
  func logAppendTime() throws {
    let node = try TestNode(at: Timestamp(1_800_000_000_000))
    try node.createTopic("t", configs: ["compression.type": "zstd", "message.timestamp.type": "LogAppendTime"])
    let answer = try self.produce(node, "t", try batch(Self.values, codec: .lz4))
    #expect(answer.errorCode == .none && answer.logAppendTimeMs >= 1_800_000_000_000)
    let kept = try #require(try self.stored(node, "t").first)
    #expect(kept.codec == .zstd && kept.header.attributes.isLogAppendTime)
    #expect(kept.header.maxTimestamp == Timestamp(answer.logAppendTimeMs))
    try kept.checkChecksum()
  }

  @Test("The level is the topic's, else the broker's; the broker's compression.type is the topics' default")
  func levels() throws {
    let node = try TestNode(settings: ["compression.type": "gzip", "compression.gzip.level": "1"])
    try node.createTopic("low")
    try node.createTopic("high", configs: ["compression.gzip.level": "9"])
    var generator = SeededGenerator(seed: 5)
    let words = (0..<200).map { _ in "word\(generator.next() % 50)" }
    let values = (0..<100).map { _ in (0..<30).map { _ in words[Int(generator.next() % 200)] }.joined(separator: " ") }
    for topic in ["low", "high"] { #expect(try self.produce(node, topic, try batch(values)).errorCode == .none) }
    let (low, high) = (try #require(try self.stored(node, "low").first), try #require(try self.stored(node, "high").first))
    #expect(low.codec == .gzip && high.codec == .gzip)
    #expect(high.bytes.readableBytes < low.bytes.readableBytes)
    // Changed while it runs.
    let altered = try node.ask(
      IncrementalAlterConfigsRequest(
        resources: [
          .init(resourceType: 4, resourceName: "", configs: [.init(name: "compression.type", configOperation: 0, value: "lz4")])
        ]))
    #expect(altered.responses.map(\.errorCode) == [.none])
    #expect(try self.produce(node, "low", try batch(values)).errorCode == .none)
    #expect(try self.stored(node, "low").last?.codec == .lz4)
  }

  @Test("What would be larger than max.message.bytes after all is refused")
  func tooLarge() throws {
    let node = try TestNode()
    try node.createTopic("t", configs: ["compression.type": "uncompressed", "max.message.bytes": "1000"])
    let answer = try self.produce(node, "t", try batch([String(repeating: "x", count: 5_000)], codec: .zstd))
    #expect(answer.errorCode == .messageTooLarge && answer.baseOffset == -1)
    #expect(try node.consume("t") == [])
  }

  /// A batch with a right checksum whose compressed records are cut short, or one fewer than its header says.
  private func brokenInside(isCut: Bool) throws -> ByteBuffer {
    var bytes = try batch(Self.values, codec: .lz4)
    if isCut { bytes = try #require(bytes.getSlice(at: bytes.readerIndex, length: bytes.readableBytes - 20)) }
    bytes.withUnsafeMutableReadableBytes { bytes in
      var header = BatchHeader(reading: UnsafeRawBufferPointer(bytes))!
      header.batchLength = Int32(bytes.count - BatchHeader.logOverhead)
      if !isCut {
        header.recordCount += 1
        header.lastOffsetDelta += 1
      }
      header.crc = header.checksum(body: UnsafeRawBufferPointer(rebasing: bytes[BatchHeader.byteCount...]))
      header.write(to: bytes)
    }
    return bytes
  }

  @Test("A batch may be as large decompressed as max.message.bytes lets it be, and 128 MiB in any case")
  func decompressedSize() {
    var config = TopicConfig()
    #expect(config.batchRules.maximumDecompressedByteCount == 128 << 20)
    config.maxMessageBytes = 300 << 20
    #expect(config.batchRules.maximumDecompressedByteCount == 300 << 20)
  }

  @Test("A batch broken inside is refused, unless records.validation=batch leaves it to the consumers", arguments: [false, true])
  func broken(isCut: Bool) throws {
    let node = try TestNode()
    try node.createTopic("checked")
    let refused = try self.produce(node, "checked", try self.brokenInside(isCut: isCut))
    #expect(refused.errorCode == .invalidRecord && refused.errorMessage?.contains(isCut ? "lz4" : "Record 50") == true)
    #expect(try node.consume("checked") == [])
    try node.createTopic("trusting", configs: ["records.validation": "batch"])
    #expect(try self.produce(node, "trusting", try self.brokenInside(isCut: isCut)).errorCode == .none)
    // Compressing it anew would make it ours.
    try node.createTopic("anew", configs: ["records.validation": "batch", "compression.type": "zstd"])
    #expect(try self.produce(node, "anew", try self.brokenInside(isCut: isCut)).errorCode == .invalidRecord)
  }
}

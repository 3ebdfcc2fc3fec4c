import Base
import Broker
import Compression
import Model
import NIOCore
import Records
import Testing
import Wire

/// One batch of records with these values.
func batch(
  _ values: [String], timestamp: Int64 = 1_700_000_000_000, codec: CompressionCodec = .none, producer: Int64 = -1, epoch: Int16 = -1,
  sequence: Int32 = -1, isTransactional: Bool = false
) throws -> ByteBuffer {
  var builder = RecordBatchBuilder(
    .init(
      codec: codec, producerID: ProducerID(producer), producerEpoch: ProducerEpoch(epoch), baseSequence: sequence,
      isTransactional: isTransactional))
  for (index, value) in values.enumerated() {
    try builder.append(
      timestamp: Timestamp(timestamp + Int64(index)), key: ByteBuffer(string: "k\(index)"), value: ByteBuffer(string: value))
  }
  return try builder.finish(using: RecordWorkspace().compressor)
}

func produceRequest(
  _ topic: String, partition: Int32 = 0, _ records: ByteBuffer?, acks: Int16 = -1, timeoutMs: Int32 = 30_000, topicID: KafkaUUID = .zero
) -> ProduceRequest {
  ProduceRequest(
    acks: acks, timeoutMs: timeoutMs,
    topicData: [.init(name: topic, topicId: topicID, partitionData: [.init(index: partition, records: records.map { .bytes($0) })])])
}

func fetchRequest(
  _ topic: String, partition: Int32 = 0, from offset: Int64, maxWaitMs: Int32 = 0, minBytes: Int32 = 1, maxBytes: Int32 = 1 << 20,
  partitionMaxBytes: Int32 = 1 << 20, topicID: KafkaUUID = .zero, sessionID: Int32 = 0, sessionEpoch: Int32 = -1, leaderEpoch: Int32 = -1,
  lastFetchedEpoch: Int32 = -1
) -> FetchRequest {
  FetchRequest(
    maxWaitMs: maxWaitMs, minBytes: minBytes, maxBytes: maxBytes, sessionId: sessionID, sessionEpoch: sessionEpoch,
    topics: [
      .init(
        topic: topic, topicId: topicID,
        partitions: [
          .init(
            partition: partition, currentLeaderEpoch: leaderEpoch, fetchOffset: offset, lastFetchedEpoch: lastFetchedEpoch,
            partitionMaxBytes: partitionMaxBytes)
        ])
    ])
}

extension FetchResponse {
  var onlyPartition: PartitionData? {
    self.responses.count == 1 && self.responses[0].partitions.count == 1 ? self.responses[0].partitions[0] : nil
  }
}

extension FetchResponse.PartitionData {
  /// The values of all records in the answer, with their offsets.
  func values() throws -> [String] {
    guard case .bytes(let bytes)? = self.records else { return [] }
    return try recordValues(bytes).map(\.value)
  }
  func offsets() throws -> [Int64] {
    guard case .bytes(let bytes)? = self.records else { return [] }
    return try recordValues(bytes).map(\.offset)
  }
}

func recordValues(_ bytes: ByteBuffer) throws -> [(offset: Int64, value: String)] {
  let workspace = RecordWorkspace()
  var found: [(Int64, String)] = []
  var batches = BatchSequence(bytes)
  while let batch = try batches.next() {
    var records = try batch.records(using: workspace.decompressor)
    while let record = try records.next() { found.append((record.offset.rawValue, record.value.map { String(buffer: $0) } ?? "")) }
  }
  #expect(batches.remainingByteCount == 0, "answers hold whole batches")
  return found
}

extension TestNode {
  /// Produces and returns the answer of the one partition.
  func produce(
    _ topic: String, partition: Int32 = 0, _ values: [String], acks: Int16 = -1, version: Int16 = 12,
    sourceLocation: SourceLocation = #_sourceLocation
  ) throws -> ProduceResponse.PartitionProduceResponse {
    let response = try self.ask(
      produceRequest(topic, partition: partition, try batch(values), acks: acks), version: version, sourceLocation: sourceLocation)
    return try #require(response.responses.first?.partitionResponses.first, sourceLocation: sourceLocation)
  }

  /// Every value in the partition from `offset` on.
  func consume(_ topic: String, partition: Int32 = 0, from offset: Int64 = 0) throws -> [String] {
    var values: [String] = []
    var next = offset
    while true {
      let data = try #require(try self.ask(fetchRequest(topic, partition: partition, from: next), version: 12).onlyPartition)
      try #require(data.errorCode == .none)
      let found = try data.values()
      if found.isEmpty { return values }
      values += found
      next = try #require(try data.offsets().last) + 1
    }
  }
}

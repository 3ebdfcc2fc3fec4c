import Compression
import Model
import NIOCore
import Records
import Testing
import Wire

@testable import KafkaClient

@Suite struct MetadataLogReaderTests {
  private static let versions: [ApiKey: ClosedRange<Int16>] = [
    .apiVersions: 0...4, .metadata: 0...12, .fetch: 4...17, .fetchSnapshot: 0...1,
  ]

  private static func batch(_ values: [String], offset: Int64) throws -> ByteBuffer {
    var builder = RecordBatchBuilder(.init(baseOffset: Offset(offset), leaderEpoch: LeaderEpoch(3)))
    for value in values { try builder.append(timestamp: Timestamp(1000), key: nil, value: ByteBuffer(string: value)) }
    return try builder.finish(using: Compressor())
  }

  private func with(_ body: (FakeCluster, KafkaAdmin) async throws -> Void) async throws {
    let cluster = try await FakeCluster(versions: Self.versions)
    let admin = KafkaAdmin(cluster.configuration)
    let result: Result<Void, any Error>
    do { result = .success(try await body(cluster, admin)) } catch { result = .failure(error) }
    await admin.close()
    await cluster.stop()
    try result.get()
  }

  /// A broker whose log has the records 10 to 13 in two batches, and a snapshot of what came before.
  private func teach(_ cluster: FakeCluster, snapshot: ByteBuffer, chunk: Int) throws {
    let (first, second) = (try Self.batch(["a", "b"], offset: 10), try Self.batch(["c", "d"], offset: 12))
    cluster.answer(FetchRequest.self) { request, version, _ in
      #expect(version == 12 && request.replicaId == -1 && request.topics[0].topic == "__cluster_metadata")
      let offset = request.topics[0].partitions[0].fetchOffset
      var answer = FetchResponse.PartitionData(partitionIndex: 0, highWatermark: 14, records: .bytes(ByteBuffer()))
      if offset < 10 {
        // Beside it stands what tells others to go on at the log's start.
        (answer.errorCode, answer.snapshotId) = (.offsetOutOfRange, .init(endOffset: 10, epoch: 2))
      } else if offset < 14 {
        var bytes = ByteBuffer()
        for batch in offset < 12 ? [first, second] : [second] { bytes.writeImmutableBuffer(batch) }
        answer.records = .bytes(bytes)
      }
      return FetchResponse(responses: [.init(topic: "__cluster_metadata", partitions: [answer])])
    }
    cluster.answer(FetchSnapshotRequest.self) { request, _, _ in
      let asked = request.topics[0].partitions[0]
      #expect(asked.snapshotId == .init(endOffset: 10, epoch: 2))
      let part = snapshot.getSlice(
        at: snapshot.readerIndex + Int(asked.position), length: min(chunk, snapshot.readableBytes - Int(asked.position)))
      return FetchSnapshotResponse(topics: [
        .init(
          name: "__cluster_metadata",
          partitions: [
            .init(
              index: 0, snapshotId: .init(endOffset: 10, epoch: 2), size: Int64(snapshot.readableBytes), position: asked.position,
              unalignedRecords: .bytes(part ?? ByteBuffer()))
          ])
      ])
    }
  }

  @Test(.timeLimit(.minutes(1))) func aSnapshotComesInPartsAndThenTheLog() async throws {
    try await self.with { cluster, admin in
      try self.teach(cluster, snapshot: try Self.batch(["x", "y", "z"], offset: 0), chunk: 30)
      var reader = MetadataLogReader(admin)
      guard case .snapshot(let batches, let end) = try await reader.next(wait: .zero) else { return #expect(Bool(false), "no snapshot") }
      #expect(end == 10 && batches.map(\.header.recordCount) == [3] && reader.nextOffset == 10)
      guard case .batches(let log, let watermark) = try await reader.next(wait: .zero) else { return #expect(Bool(false), "no log") }
      #expect(log.map(\.header.baseOffset.rawValue) == [10, 12] && watermark == 14 && reader.nextOffset == 14)
      guard case .batches(let rest, _) = try await reader.next(wait: .zero) else { return #expect(Bool(false), "no end") }
      #expect(rest.isEmpty && reader.nextOffset == 14)
      #expect(cluster.count(.fetchSnapshot) > 2)
    }
  }

  @Test(.timeLimit(.minutes(1))) func aSnapshotThatIsNotWholeIsRefused() async throws {
    let whole = try Self.batch(["x", "y", "z"], offset: 0)
    var torn = whole
    torn.moveWriterIndex(to: torn.writerIndex - 3)
    var wrong = whole
    wrong.setInteger(UInt8(1), at: wrong.writerIndex - 1)
    for snapshot in [torn, wrong] {
      try await self.with { cluster, admin in
        try self.teach(cluster, snapshot: snapshot, chunk: 1 << 20)
        let error = await #expect(throws: KafkaError.self) {
          var reader = MetadataLogReader(admin)
          _ = try await reader.next(wait: .zero)
        }
        #expect(error?.kind == .malformed)
      }
    }
  }

  @Test(.timeLimit(.minutes(1))) func aSnapshotThatLeadsNowhereIsRefused() async throws {
    try await self.with { cluster, admin in
      try self.teach(cluster, snapshot: ByteBuffer(), chunk: 1)
      cluster.answer(FetchRequest.self) { _, _, _ in
        let answer = FetchResponse.PartitionData(partitionIndex: 0, highWatermark: 14, snapshotId: .init(endOffset: 5, epoch: 2))
        return FetchResponse(responses: [.init(topic: "__cluster_metadata", partitions: [answer])])
      }
      let error = await #expect(throws: KafkaError.self) {
        var reader = MetadataLogReader(admin, from: 8)
        _ = try await reader.next(wait: .zero)
      }
      #expect(error?.kind == .malformed)
    }
  }

  @Test(.timeLimit(.minutes(1))) func brokersThatDoNotServeTheLogSaySo() async throws {
    try await self.with { cluster, admin in
      cluster.answer(FetchRequest.self) { _, _, _ in
        FetchResponse(responses: [
          .init(topic: "__cluster_metadata", partitions: [.init(partitionIndex: 0, errorCode: .unknownTopicOrPartition)])
        ])
      }
      let error = await #expect(throws: KafkaError.self) {
        var reader = MetadataLogReader(admin)
        _ = try await reader.next(wait: .zero)
      }
      #expect(error?.code == .unknownTopicOrPartition)
    }
  }
}

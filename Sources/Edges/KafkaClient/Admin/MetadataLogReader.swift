import Base
import Model
import NIOCore
package import Records
import Wire

/// Reads the metadata log of a cluster from one of its brokers, committed records only.
///
/// This is an extension of Apus in Kafka's own requests: a broker answers a consumer's Fetch of `__cluster_metadata`, and FetchSnapshot for
/// what came before the log's start. Apache Kafka's brokers refuse both. What was read from one broker is read on from another when that
/// one is gone: the committed log is the same everywhere; snapshots are not, so that one is read from a single broker.
package struct MetadataLogReader {
  package static let topic = "__cluster_metadata"
  private static let fetchBytesMax: Int32 = 4 << 20

  /// What a read came to.
  package enum Page: Sendable {
    /// Batches in order; the first may begin before the offset that was asked for. Empty: nothing new within the time.
    case batches([RecordBatchView], highWatermark: Int64)
    /// A whole snapshot, in place of everything before `endOffset`.
    case snapshot([RecordBatchView], endOffset: Int64)
  }

  private let cluster: ClusterClient
  private var connection: BrokerConnection?
  /// Where the next read begins.
  package private(set) var nextOffset: Int64

  package init(_ admin: KafkaAdmin, from offset: Int64 = 0) {
    self.cluster = admin.cluster
    self.nextOffset = offset
  }

  /// The next part of the log. Waits up to `wait` for there to be one.
  ///
  /// Throws `UNKNOWN_TOPIC_OR_PARTITION` or another refusal where the cluster's brokers do not serve the log.
  package mutating func next(wait: Duration) async throws(KafkaError) -> Page {
    let connection = try await self.connect()
    var request = FetchRequest(
      replicaId: -1, maxWaitMs: Int32(clamping: wait.wholeMilliseconds), minBytes: 1, maxBytes: Self.fetchBytesMax)
    (request.sessionId, request.sessionEpoch) = (0, -1)
    request.topics = [
      .init(
        topic: Self.topic, partitions: [.init(partition: 0, fetchOffset: self.nextOffset, partitionMaxBytes: Self.fetchBytesMax)])
    ]
    let asked = request
    let timeout = self.cluster.configuration.requestTimeout + wait
    // Up to version 12 topics go by their names; snapshots are told of from 12 on.
    let response = try await self.onLoop { connection.send(asked, notAbove: 12, timeout: timeout) }
    if response.errorCode != .none { throw KafkaError(response.errorCode, about: "the metadata log") }
    guard let partition = response.responses.first?.partitions.first else {
      throw KafkaError(.malformed, "\(connection.address) answers a fetch of the metadata log with nothing of it")
    }
    // OFFSET_OUT_OF_RANGE stands beside it, for those who know nothing of snapshots.
    if partition.snapshotId.epoch >= 0 {
      return try await self.snapshot(partition.snapshotId.endOffset, partition.snapshotId.epoch, on: connection)
    }
    if partition.errorCode != .none { throw KafkaError(partition.errorCode, about: "the metadata log") }
    guard case .bytes(let bytes)? = partition.records else { return .batches([], highWatermark: partition.highWatermark) }
    let batches = try Self.batches(in: bytes, isWhole: false)
    if let last = batches.last { self.nextOffset = max(self.nextOffset, last.header.nextOffset.rawValue) }
    return .batches(batches, highWatermark: partition.highWatermark)
  }

  private mutating func snapshot(_ end: Int64, _ epoch: Int32, on connection: BrokerConnection) async throws(KafkaError) -> Page {
    guard end > self.nextOffset else {
      throw KafkaError(.malformed, "\(connection.address) offers a snapshot up to \(end) in place of records from \(self.nextOffset) on")
    }
    var contents = ByteBuffer()
    var size = Int64.max
    while Int64(contents.readableBytes) < size {
      let position = Int64(contents.readableBytes)
      let request = FetchSnapshotRequest(
        replicaId: -1, maxBytes: Self.fetchBytesMax,
        topics: [
          .init(
            name: Self.topic,
            partitions: [
              .init(partition: 0, currentLeaderEpoch: -1, snapshotId: .init(endOffset: end, epoch: epoch), position: position)
            ])
        ])
      let response = try await self.onLoop { connection.send(request) }
      if response.errorCode != .none { throw KafkaError(response.errorCode, about: "a snapshot of the metadata log") }
      guard let partition = response.topics.first?.partitions.first else {
        throw KafkaError(.malformed, "\(connection.address) answers a fetch of a snapshot with nothing of it")
      }
      if partition.errorCode != .none { throw KafkaError(partition.errorCode, about: "a snapshot of the metadata log") }
      guard case .bytes(var bytes) = partition.unalignedRecords, bytes.readableBytes > 0 || partition.size == position else {
        throw KafkaError(.malformed, "\(connection.address) sends nothing of a snapshot at position \(position)")
      }
      contents.writeBuffer(&bytes)
      size = partition.size
      guard contents.readableBytes <= self.cluster.configuration.responseByteCountMax else {
        throw KafkaError(.malformed, "the snapshot is larger than \(self.cluster.configuration.responseByteCountMax) bytes")
      }
    }
    let batches = try Self.batches(in: contents, isWhole: true)
    self.nextOffset = end
    return .snapshot(batches, endOffset: end)
  }

  /// - Parameter isWhole: nothing may be left behind the last whole batch.
  private static func batches(in bytes: ByteBuffer, isWhole: Bool) throws(KafkaError) -> [RecordBatchView] {
    var batches: [RecordBatchView] = []
    var sequence = BatchSequence(bytes)
    do throws(RecordError) {
      while let batch = try sequence.next() { batches.append(batch) }
    } catch {
      throw KafkaError(.malformed, "the metadata log is corrupt: \(error)")
    }
    if isWhole, sequence.remainingByteCount > 0 {
      throw KafkaError(.malformed, "a snapshot of the metadata log ends in the middle of a batch")
    }
    return batches
  }

  /// The connection used so far, as long as it is open.
  private mutating func connect() async throws(KafkaError) -> BrokerConnection {
    if let connection, try await self.isOpen(connection) { return connection }
    let fresh = try await self.cluster.onLoop { [cluster] in cluster.anyConnection() }
    self.connection = fresh
    return fresh
  }

  private func isOpen(_ connection: BrokerConnection) async throws(KafkaError) -> Bool {
    try await self.cluster.onLoop { [cluster] in cluster.eventLoop.makeSucceededFuture(connection.isOpen) }
  }

  private func onLoop<Value: Sendable>(
    _ body: @escaping @Sendable () -> EventLoopFuture<Value>
  ) async throws(KafkaError) -> Value {
    try await self.cluster.onLoop(body)
  }
}

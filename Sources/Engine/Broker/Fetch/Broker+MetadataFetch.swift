import Base
import Controller
import Environment
import LogCore
import Metadata
import Model
import NIOCore
import Records
import Storage
import Synchronization
import Wire

// The metadata log as clients see it: any node answers from its own replica, up to what is committed, and takes nothing. Of Apus, in
// Kafka's own requests: whoever wants to know what happened to a cluster reads it where it is written.

/// A consumer's fetch of partition 0 of the metadata log and nothing else. It is in no fetch session: one that asks for a session is told
/// that there is none.
struct MetadataFetch: Sendable {
  var offset: Offset
  var epoch: LeaderEpoch
  var minBytes: Int
  var maxBytes: Int
  var maxWait: Duration

  /// Nil where the request is something else. The request is not a replica's.
  init?(_ request: FetchRequest, bytesMax: Int) {
    guard request.topics.count == 1, request.concernsMetadataLog, request.sessionEpoch <= 0, request.topics[0].partitions.count == 1
    else { return nil }
    let partition = request.topics[0].partitions[0]
    guard partition.partition == 0 else { return nil }
    (self.offset, self.epoch) = (Offset(partition.fetchOffset), LeaderEpoch(partition.currentLeaderEpoch))
    self.maxBytes = max(0, min(Int(request.maxBytes), Int(partition.partitionMaxBytes), bytesMax))
    self.minBytes = min(Int(request.minBytes), self.maxBytes)
    self.maxWait = .milliseconds(Int64(max(0, request.maxWaitMs)))
  }
}

extension Broker {
  func handleMetadataFetch(_ exchange: Exchange<Env.Disk.File>, _ fetch: MetadataFetch) {
    let read = self.read(fetch)
    guard !self.isShuttingDown, fetch.maxWait > .zero, let known = Self.awaited(read, fetch) else {
      return self.answer(exchange, fetch, read, isLast: fetch.maxWait <= .zero)
    }
    PendingMetadataFetch(broker: self, exchange: exchange, fetch: fetch).start(after: known)
  }

  fileprivate typealias MetadataRead = Result<CommittedRead<Env.Disk.File>, MetadataLogError>

  fileprivate func read(_ fetch: MetadataFetch) -> MetadataRead {
    do throws(MetadataLogError) {
      return .success(try self.controller.quorum.readCommitted(from: fetch.offset, epoch: fetch.epoch, maxBytes: fetch.maxBytes))
    } catch { return .failure(error) }
  }

  /// What has to be passed before there can be more; nil if the answer is to go out now.
  fileprivate static func awaited(_ read: MetadataRead, _ fetch: MetadataFetch) -> Offset? {
    guard case .success(let read) = read, read.snapshot == nil, (read.slice?.byteCount ?? 0) < max(1, fetch.minBytes) else { return nil }
    return max(read.highWatermark, fetch.offset)
  }

  /// - Parameter isLast: the time is over. A reader that is ahead of this node may be right until then.
  fileprivate func answer(_ exchange: Exchange<Env.Disk.File>, _ fetch: MetadataFetch, _ read: MetadataRead, isLast: Bool) {
    var data = FetchResponse.PartitionData(partitionIndex: 0, highWatermark: -1)
    var slices: [FileSlice<Env.Disk.File>] = []
    switch read {
    case .failure(let error):
      data.errorCode = error.code
    case .success(let read):
      data.highWatermark = read.highWatermark.rawValue
      data.lastStableOffset = read.highWatermark.rawValue
      data.logStartOffset = read.logStartOffset.rawValue
      if let snapshot = read.snapshot {
        // The code for those who know nothing of snapshots: they go on at the log's start.
        data.errorCode = .offsetOutOfRange
        data.snapshotId = .init(endOffset: snapshot.endOffset.rawValue, epoch: snapshot.epoch.rawValue)
      } else if read.isBeyond, isLast {
        data.errorCode = .offsetOutOfRange
      }
      if let slice = read.slice, let file = slice.file {
        slices = [FileSlice(file: file, position: slice.position, byteCount: slice.byteCount)]
      }
    }
    data.records = slices.isEmpty ? .bytes(ByteBuffer()) : .external(byteCount: slices[0].byteCount)
    let topic = FetchResponse.FetchableTopicResponse(topic: TopicName.clusterMetadata, topicId: .metadataTopic, partitions: [data])
    exchange.respond(FetchResponse(responses: [topic]), slices: slices, recordByteCount: 0)
  }

  // MARK: - Snapshots

  private static var snapshotBytesMax: Int { 1 << 20 }

  /// FetchSnapshot (KIP-630) of a client. Replicas ask on the controller's listener.
  func handleSnapshotFetch(_ exchange: Exchange<Env.Disk.File>, _ request: FetchSnapshotRequest) {
    guard request.replicaId < 0, request.topics.count == 1, request.topics[0].name == TopicName.clusterMetadata,
      request.topics[0].partitions.count == 1, request.topics[0].partitions[0].partition == 0
    else {
      return exchange.respond(FetchSnapshotResponse(errorCode: .invalidRequest))
    }
    if let cluster = request.clusterId, cluster != self.clusterID {
      return exchange.respond(FetchSnapshotResponse(errorCode: .inconsistentClusterId))
    }
    let asked = request.topics[0].partitions[0]
    let bytesMax = max(1, min(Int(request.maxBytes), Self.snapshotBytesMax))
    self.environment.submit(to: .background) {
      var answer = FetchSnapshotResponse.PartitionSnapshot(index: 0)
      answer.snapshotId = .init(endOffset: asked.snapshotId.endOffset, epoch: asked.snapshotId.epoch)
      answer.position = asked.position
      do throws(MetadataLogError) {
        let part = try self.controller.quorum.readSnapshot(
          endOffset: Offset(asked.snapshotId.endOffset), epoch: LeaderEpoch(asked.snapshotId.epoch), from: asked.position,
          byteCountMax: bytesMax)
        answer.size = part.byteCount
        answer.unalignedRecords = .bytes(part.bytes)
      } catch {
        answer.errorCode = error.code
        answer.unalignedRecords = .bytes(ByteBuffer())
      }
      exchange.respond(FetchSnapshotResponse(topics: [.init(name: TopicName.clusterMetadata, partitions: [answer])]))
    }
  }

  // MARK: - Offsets

  /// ListOffsets of the metadata log. Everybody sees what is committed, a debugging tool no more than others.
  func committedOffset(
    of query: OffsetQuery, _ epoch: LeaderEpoch, _ exchange: Exchange<Env.Disk.File>
  ) -> Result<ListedOffset, ErrorCode.Refusal> {
    let quorum = self.controller.quorum
    do throws(MetadataLogError) {
      switch query {
      case .latestTiered, .earliestPendingUpload: return .success(ListedOffset())
      case .latest:
        let bounds = try quorum.committedBounds(epoch: epoch)
        return .success(ListedOffset(offset: bounds.end, leaderEpoch: bounds.endEpoch))
      case .earliest, .earliestLocal:
        let bounds = try quorum.committedBounds(epoch: epoch)
        return .success(ListedOffset(offset: bounds.start, leaderEpoch: bounds.startEpoch))
      case .time, .maxTimestamp:
        let time: Timestamp? = if case .time(let timestamp) = query { timestamp } else { nil }
        let found = try self.workspaces.withWorkspace(near: exchange.client.connectionID) { workspace throws(MetadataLogError) in
          try quorum.committedOffset(notOlderThan: time, epoch: epoch, using: workspace.decompressor)
        }
        guard let found else { return .success(ListedOffset()) }
        return .success(ListedOffset(timestamp: found.timestamp, offset: found.offset, leaderEpoch: found.leaderEpoch))
      }
    } catch { return .failure(.init(code: error.code)) }
  }
}

/// A fetch of the metadata log that waits for something to be committed.
private final class PendingMetadataFetch<Env: Environment>: WaitingFetch {
  private struct State: Sendable {
    var isOver = false
    var deadline: DeadlineQueue<Env>.Handle?
    var wait: UInt64?
  }
  private let broker: Broker<Env>
  private let exchange: Exchange<Env.Disk.File>
  private let fetch: MetadataFetch
  private let state = Mutex(State())

  init(broker: Broker<Env>, exchange: Exchange<Env.Disk.File>, fetch: MetadataFetch) {
    (self.broker, self.exchange, self.fetch) = (broker, exchange, fetch)
  }

  var partitionCount: Int { 1 }

  /// - Parameter known: it waits for what lies there or behind.
  func start(after known: Offset) {
    guard self.broker.connectionWaits.add(self, connectionID: self.exchange.client.connectionID) else { return self.finish(isLast: true) }
    let handle = self.broker.deadlines.add(self, deadline: self.broker.environment.now() + self.fetch.maxWait)
    self.state.withLock { $0.deadline = handle }
    self.wait(beyond: known)
  }

  private func wait(beyond known: Offset) {
    let quorum = self.broker.controller.quorum
    let wait = quorum.awaitCommitted(beyond: known) { [weak self] in self?.wake() }
    let isOver = self.state.withLock { state in
      state.wait = wait
      return state.isOver
    }
    // It may have ended while it was still being registered.
    if isOver { self.cancel() }
  }

  private func wake() {
    let read = self.broker.read(self.fetch)
    if let known = Broker<Env>.awaited(read, self.fetch) { return self.wait(beyond: known) }
    if self.end() { self.broker.answer(self.exchange, self.fetch, read, isLast: false) }
  }

  func expire() { self.finish(isLast: true) }

  func abandon() {
    if self.end() { self.exchange.skip() }
  }

  private func finish(isLast: Bool) {
    if self.end() { self.broker.answer(self.exchange, self.fetch, self.broker.read(self.fetch), isLast: isLast) }
  }

  /// Ends the waiting; true for the one caller that ended it.
  private func end() -> Bool {
    let isFirst = self.state.withLock { state in
      defer { state.isOver = true }
      return !state.isOver
    }
    if isFirst { self.cancel() }
    return isFirst
  }

  private func cancel() {
    let (deadline, wait) = self.state.withLock { ($0.deadline, $0.wait) }
    if let deadline { self.broker.deadlines.cancel(deadline) }
    if let wait { self.broker.controller.quorum.cancelCommittedWait(wait) }
    self.broker.connectionWaits.remove(self, connectionID: self.exchange.client.connectionID)
  }
}

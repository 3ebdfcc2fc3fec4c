import Base
package import Environment
import LogCore
package import Metadata
package import Model
package import NIOCore
import Records
package import Storage
import Synchronization

/// The metadata log of a quorum of one: `__cluster_metadata-0` on this node's disk, committed when it is synced.
///
/// Appends go to the page cache under the lock. Syncs run on the metadata lane, one at a time, and each covers everything appended
/// before it began, so that requests that come together share one.
package final class LocalMetadataLog<Env: Environment>: MetadataLogPort {
  package static var topicPartition: TopicPartition { TopicPartition(TopicName.clusterMetadata, PartitionID(0)) }

  private struct State {
    var log: PartitionLog<Env.Disk>
    var leaderEpoch = LeaderEpoch.unknown
    var listener: (@Sendable (MetadataLogEvent) -> Void)?
    /// A flush is under way or about to be: whatever is appended meanwhile, it will see to.
    var isFlushing = false
    /// The last flush had to be put off; reported once until one succeeds.
    var isDelayed = false
    var bytesSinceCheckpoint = 0
    var isClosed = false
  }

  /// Bytes appended between two checkpoints: what a start after a crash reads again.
  private static var checkpointBytes: Int { 1 << 20 }
  /// How long a flush is put off that found no descriptor for its files.
  private static var flushRetryInterval: Duration { .milliseconds(500) }

  private let environment: Env
  private let nodeID: NodeID
  private let state: Mutex<State>

  /// Opens the log in `store`, or creates it. Blocks.
  package static func open(
    environment: Env, store: LogDirectory<Env.Disk>, config: BrokerConfig
  ) throws(MetadataLogError) -> (log: LocalMetadataLog, report: RecoveryReport?) {
    let logConfig = LogConfig(
      segmentBytes: config.metadataSegmentBytes, segmentAge: config.metadataSegmentAge, retentionBytes: nil, retentionAge: nil)
    let now = environment.wallClock()
    do {
      if try environment.disk.kind(of: store.directory(of: Self.topicPartition)) != nil {
        let (log, report) = try PartitionLog.open(in: store, topicPartition: Self.topicPartition, config: logConfig, now: now)
        return (LocalMetadataLog(log, environment, config.nodeID), report)
      }
      let log = try PartitionLog.create(
        in: store, topicPartition: Self.topicPartition, topicID: .metadataTopic, config: logConfig, now: now)
      return (LocalMetadataLog(log, environment, config.nodeID), nil)
    } catch { throw MetadataLogError("\(error)") }
  }

  private init(_ log: PartitionLog<Env.Disk>, _ environment: Env, _ nodeID: NodeID) {
    self.environment = environment
    self.nodeID = nodeID
    self.state = Mutex(State(log: log))
  }

  package var nextOffset: Offset { self.state.withLock { $0.log.logEndOffset } }

  // MARK: Reading

  package func read<E: Error>(
    from offset: Offset, _ body: (Offset, ByteBuffer) throws(E) -> Void
  ) throws(MetadataLogReadError<E>) {
    let workspace = RecordWorkspace()
    var next = offset
    while true {
      let slice: LogSlice<Env.Disk.File>
      do throws(StorageError) {
        slice = try self.state.withLock { state throws(StorageError) in
          try state.log.read(from: next, maxBytes: 1 << 20, upTo: state.log.logEndOffset, minOneBatch: true)
        }
      } catch { throw .log(MetadataLogError("\(error)")) }
      if slice.isEmpty { return }
      let bytes: [UInt8]
      do throws(DiskError) { bytes = try slice.bytes() } catch { throw .log(MetadataLogError("\(error)")) }
      try self.read(ByteBuffer(bytes: bytes), from: offset, workspace, body)
      next = slice.nextOffset
    }
  }

  private func read<E: Error>(
    _ bytes: ByteBuffer, from offset: Offset, _ workspace: RecordWorkspace, _ body: (Offset, ByteBuffer) throws(E) -> Void
  ) throws(MetadataLogReadError<E>) {
    func checked<Value>(_ step: () throws(RecordError) -> Value) throws(MetadataLogReadError<E>) -> Value {
      do throws(RecordError) { return try step() } catch { throw .log(MetadataLogError("it has a bad batch: \(error)")) }
    }
    var batches = BatchSequence(bytes)
    while let batch = try checked({ () throws(RecordError) in try batches.next() }) {
      // Leader changes and their like concern the log, not what it says.
      if batch.header.attributes.isControl { continue }
      var records = try checked { () throws(RecordError) in try batch.records(using: workspace.decompressor) }
      while let record = try checked({ () throws(RecordError) in try records.next() }) {
        guard record.offset >= offset else { continue }
        guard let value = record.value else { throw .log(MetadataLogError("the record at offset \(record.offset) has no value")) }
        do throws(E) { try body(record.offset, value) } catch { throw .reader(error) }
      }
    }
    if batches.remainingByteCount > 0 {
      throw .log(MetadataLogError("\(batches.remainingByteCount) bytes are left behind its last whole batch"))
    }
  }

  // MARK: Leading

  /// Begins a new leader epoch with the record that KRaft's leaders begin theirs with.
  package func start(_ listener: @escaping @Sendable (MetadataLogEvent) -> Void) throws(MetadataLogError) {
    try self.state.withLock { state throws(MetadataLogError) in
      state.listener = listener
      // KRaft's first epoch is 1: epoch 0 has no leader.
      state.leaderEpoch = LeaderEpoch((state.log.leaderEpochs.latestEpoch?.rawValue ?? 0) + 1)
      state.log.beginLeaderEpoch(state.leaderEpoch)
      let record = (key: ControlRecordKey(.leaderChange).bytes, value: leaderChangeRecord(leader: self.nodeID))
      try self.append([record], isControl: true, &state)
    }
  }

  package func append(_ records: [ByteBuffer]) throws(MetadataLogError) {
    try self.state.withLock { state throws(MetadataLogError) in
      if state.isClosed { throw MetadataLogError("the log was closed", code: .notController) }
      try self.append(records.map { (nil, $0) }, isControl: false, &state)
    }
  }

  private func append(
    _ records: [(key: ByteBuffer?, value: ByteBuffer)], isControl: Bool, _ state: inout State
  ) throws(MetadataLogError) {
    let now = self.environment.wallClock()
    do {
      var builder = RecordBatchBuilder(.init(leaderEpoch: state.leaderEpoch, isControl: isControl))
      for record in records { try builder.append(timestamp: now, key: record.key, value: record.value) }
      let batch = try builder.finish(using: RecordWorkspace().compressor)
      guard let header = batch.withUnsafeReadableBytes({ BatchHeader(reading: $0) }) else {
        throw MetadataLogError("a batch of \(records.count) records came to nothing")
      }
      _ = try state.log.append(header, batch: batch, leaderEpoch: state.leaderEpoch, now: now)
      state.bytesSinceCheckpoint += batch.readableBytes
    } catch {
      if case .offline(let reason) = state.log.state {
        // A torn write that could not be undone: the next append would be refused as well.
        let listener = state.listener
        self.environment.submit(to: .metadata) { listener?(.failed(MetadataLogError(reason))) }
      }
      throw error as? MetadataLogError ?? MetadataLogError("\(error)")
    }
    if !state.isFlushing {
      state.isFlushing = true
      self.environment.submit(to: .metadata) { self.flush() }
    }
  }

  // MARK: Committing

  /// Syncs until nothing is left to sync. On the metadata lane.
  private func flush() {
    while true {
      do throws(StorageError) {
        let ticket = try self.state.withLock { state throws(StorageError) in
          let ticket = try state.log.beginFlush()
          if ticket == nil { state.isFlushing = false }
          return ticket
        }
        guard let ticket else { return }
        do throws(DiskError) { try ticket.run() } catch { throw StorageError.disk(error) }
        let (flushed, listener) = self.state.withLock { state in
          state.isDelayed = false
          return (state.log.completeFlush(ticket), state.listener)
        }
        listener?(.committed(upTo: flushed))
        self.checkpointIfDue()
      } catch {
        if error.isTransient { return self.deferFlush(error) }
        let reason = "\(error)"
        let listener = self.state.withLock { state in
          state.log.takeOffline(reason)
          return state.listener
        }
        // `isFlushing` stays set: after a failed sync there is nothing to try again.
        listener?(.failed(MetadataLogError(reason)))
        return
      }
    }
  }

  /// Nothing was synced and nothing is lost: `isFlushing` stays set, as the flush is still to come.
  private func deferFlush(_ cause: StorageError) {
    let listener = self.state.withLock { state -> (@Sendable (MetadataLogEvent) -> Void)? in
      defer { state.isDelayed = true }
      return state.isDelayed ? nil : state.listener
    }
    listener?(.delayed(MetadataLogError("\(cause)")))
    _ = self.environment.schedule(after: Self.flushRetryInterval) { [weak self] in
      guard let self else { return }
      self.environment.submit(to: .metadata) {
        if !self.state.withLock({ $0.isClosed }) { self.flush() }
      }
    }
  }

  /// Moves the recovery point up, so that a start after a crash need not check the whole log. It reaches the disk with the
  /// directory's checkpoints, which the directory's owner writes.
  private func checkpointIfDue() {
    // A checkpoint that fails, or cannot begin, costs time at the next start and nothing else: the log itself is synced.
    let ticket = self.state.withLock { state -> CheckpointTicket<Env.Disk>? in
      guard state.bytesSinceCheckpoint >= Self.checkpointBytes else { return nil }
      state.bytesSinceCheckpoint = 0
      do throws(StorageError) { return try state.log.beginCheckpoint() } catch { return nil }
    }
    guard let ticket else { return }
    let failed: Bool
    do throws(DiskError) {
      try ticket.run()
      failed = false
    } catch { failed = true }
    self.state.withLock { $0.log.completeCheckpoint(ticket, failed: failed) }
  }

  package func close(_ completion: @escaping @Sendable (MetadataLogError?) -> Void) {
    self.environment.submit(to: .metadata) {
      self.state.withLock { $0.isClosed = true }
      self.flush()
      do throws(StorageError) {
        try self.state.withLock { state throws(StorageError) in try state.log.closeCleanly() }
        completion(nil)
      } catch { completion(MetadataLogError("\(error)")) }
    }
  }
}

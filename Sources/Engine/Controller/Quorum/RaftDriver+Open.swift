package import Environment
import LogCore
package import Metadata
package import Model
package import NIOCore
import Peers
package import Raft
import Records
package import Storage
import Synchronization

extension RaftDriver {
  /// Opens the metadata log with its snapshots and hard state, or creates it, as a replica that `start` sets to work. Blocks.
  ///
  /// - Parameters:
  ///   - voters: of the configuration, or of the node's formatting; what the log and its snapshots say goes before.
  ///   - version: the same for `kraft.version`.
  ///   - seed: of the machine's random choices.
  package static func open(
    _ config: RaftConfig, voters: VoterSet, version: KRaftVersion, environment: Env, store: LogDirectory<Env.Disk>,
    broker: BrokerConfig, history: MetadataHistory? = nil, seed: UInt64, listener: any QuorumListener
  ) throws(MetadataLogError) -> (driver: RaftDriver, report: RecoveryReport?) {
    let logConfig = LogConfig(
      segmentBytes: broker.metadataSegmentBytes, segmentAge: broker.metadataSegmentAge, retentionBytes: nil, retentionAge: nil)
    let now = environment.wallClock()
    let directory = store.directory(of: Self.topicPartition)
    let snapshots = SnapshotFiles(disk: environment.disk, directory: directory)
    do {
      var log: PartitionLog<Env.Disk>
      var report: RecoveryReport?
      if try environment.disk.kind(of: directory) != nil {
        (log, report) = try PartitionLog.open(in: store, topicPartition: Self.topicPartition, config: logConfig, now: now)
      } else {
        log = try PartitionLog.create(
          in: store, topicPartition: Self.topicPartition, topicID: .metadataTopic, config: logConfig, now: now)
        try log.beginFlush()?.run()
      }
      var summary = LogSummary(voters: voters, version: version)
      try snapshots.removeDownloads()
      let found = try snapshots.list()
      if let latest = found.last {
        let snapshot = try snapshots.summary(of: latest)
        // A crash came between the leader's snapshot and what it replaces: a log that ends before it, or that the leader's had parted from.
        // Logs that have one entry of a term at one place are the same up to there, and only up to there is the snapshot made from.
        let end = Offset(latest.index.rawValue)
        let isOther = log.logStartOffset < end && log.leaderEpochs.epoch(at: end + -1)?.rawValue != latest.term.rawValue
        if log.logEndOffset < end || isOther { try log.truncateFully(to: end, now: now) }
        if let longer = Self.summary(&log, upTo: snapshot, of: found, snapshots, voters, version) {
          summary = longer
        } else {
          summary.reset(to: snapshot)
          try Self.scan(&log, from: end, into: &summary)
        }
      } else {
        try Self.scan(&log, from: .zero, into: &summary)
      }
      let state = try Self.hardState(in: directory, of: store, summary.version) ?? HardState()
      var mutants: RaftMutant = []
      #if APUS_MUTANTS
        mutants = environment.mutant.flatMap { RaftMutant.named[$0] } ?? []
      #endif
      let machine = RaftMachine(
        config: config, hardState: state, log: summary, seed: seed, now: environment.now(), mutants: mutants)
      let driver = RaftDriver(
        machine: machine, log: log, snapshots: snapshots, environment: environment, history: history, listener: listener)
      return (driver, report)
    } catch {
      throw error as? MetadataLogError ?? MetadataLogError("\(error)")
    }
  }

  /// What this replica has promised. It is made to stand by that even if the process before it could not sync what it wrote: a vote that
  /// was read from the page cache only would be gone with the power, and could be given twice.
  private static func hardState(
    in directory: String, of store: LogDirectory<Env.Disk>, _ version: KRaftVersion
  ) throws(MetadataLogError) -> HardState? {
    let file = QuorumStateFile(disk: store.disk, directory: directory)
    guard let state = try file.read() else { return nil }
    if !store.wasClosedCleanly {
      do throws(DiskError) { try file.write(state, version: version) } catch { throw MetadataLogError("\(error)") }
    }
    return state
  }

  /// The log from the snapshot before the latest on, or from its beginning: replicas that are a little behind a snapshot need not load it.
  /// Nil if it is not there, not readable, or not what the latest snapshot was made from: a crash came before a snapshot took its place.
  private static func summary(
    _ log: inout PartitionLog<Env.Disk>, upTo latest: SnapshotSummary, of found: [LogEnd], _ snapshots: SnapshotFiles<Env.Disk>,
    _ voters: VoterSet, _ version: KRaftVersion
  ) -> LogSummary? {
    var summary = LogSummary(voters: voters, version: version)
    if let before = found.dropLast().last, before.index.rawValue >= log.logStartOffset.rawValue {
      guard let snapshot = try? snapshots.summary(of: before) else { return nil }
      summary.reset(to: snapshot)
    } else if log.logStartOffset > .zero {
      return nil
    }
    guard (try? Self.scan(&log, from: Offset(summary.startIndex.rawValue), into: &summary)) != nil else { return nil }
    guard summary.endIndex >= latest.info.id.index, summary.term(at: latest.info.id.index - 1) == latest.info.id.term else { return nil }
    summary.add(latest.info)
    return summary
  }

  /// Reads the log for what Raft needs to know of it. All of it is on disk: opening saw to that.
  private static func scan(_ log: inout PartitionLog<Env.Disk>, from start: Offset, into summary: inout LogSummary) throws {
    var next = start
    while next < log.logEndOffset {
      let slice = try log.read(from: next, maxBytes: 1 << 20, upTo: log.logEndOffset, minOneBatch: true)
      if slice.isEmpty { throw MetadataLogError("nothing can be read at offset \(next), before the log's end \(log.logEndOffset)") }
      let run = try EntryScan.run(in: ByteBuffer(bytes: try slice.bytes())) { _ in PayloadID(rawValue: 0) }
      guard run.start.rawValue == next.rawValue else {
        throw MetadataLogError("the batch that holds offset \(next) begins at \(run.start)")
      }
      summary.append(run)
      next = slice.nextOffset
    }
    summary.persist(upTo: summary.endIndex)
  }

  // MARK: - Reading

  /// Hands the values of the records from `offset` up to `end` to `body`, in order, with their offsets. Control records are left out.
  package func read<E: Error>(
    from offset: Offset, upTo end: Offset, _ body: (Offset, ByteBuffer) throws(E) -> Void
  ) throws(MetadataLogReadError<E>) {
    let workspace = RecordWorkspace()
    var next = offset
    while next < end {
      let bytes: ByteBuffer
      let following: Offset
      do {
        let slice = try self.state.withLock { state throws(StorageError) in
          try state.log.read(from: next, maxBytes: 1 << 20, upTo: end, minOneBatch: true)
        }
        if slice.isEmpty { throw MetadataLogError("nothing can be read at offset \(next), before the committed end \(end)") }
        (bytes, following) = (ByteBuffer(bytes: try slice.bytes()), slice.nextOffset)
      } catch { throw .log(error as? MetadataLogError ?? MetadataLogError("\(error)")) }
      try MetadataRecordReader.read(bytes, from: offset, workspace, body)
      next = following
    }
  }

  /// Hands the values of a snapshot's records to `body`, in order.
  package func readSnapshot<E: Error>(
    endOffset: Offset, epoch: LeaderEpoch, _ body: (ByteBuffer) throws(E) -> Void
  ) throws(MetadataLogReadError<E>) {
    let contents: ByteBuffer
    do throws(DiskError) {
      contents = try self.snapshots.contents(of: LogEnd(term: Term(epoch.rawValue), index: LogIndex(endOffset.rawValue)))
    } catch { throw .log(MetadataLogError("\(error)")) }
    try MetadataRecordReader.read(contents, from: .zero, RecordWorkspace()) { (_, value) throws(E) in try body(value) }
  }

  // MARK: - The end

  /// Closes the log; the replica takes part no more. Blocks: on the metadata lane. Nil if all is on disk.
  package func close(_ completion: @escaping @Sendable (MetadataLogError?) -> Void) {
    self.environment.submit(to: .metadata) {
      let (result, peers, readers) = self.state.withLock { state -> (MetadataLogError?, [Peer<Env>], Aftermath) in
        state.isClosed = true
        state.timer?.cancel()
        var readers: Aftermath = []
        self.wakeReaders(&state, &readers)
        defer { state.peers = [:] }
        // In an order that is the same in every process.
        func rank(_ key: PeerKey) -> (String, UInt16, Int) { (key.address.host, key.address.port, key.isForFetches ? 1 : 0) }
        let peers = state.peers.sorted { rank($0.key) < rank($1.key) }.map { $0.value }
        do throws(StorageError) {
          if !state.hasFailed {
            let ticket = try state.log.beginFlush()
            do throws(DiskError) { try ticket?.run() } catch { throw .disk(error) }
            if let ticket { state.log.completeFlush(ticket) }
            try state.log.closeCleanly()
          }
          return (nil, peers, readers)
        } catch { return (MetadataLogError("\(error)"), peers, readers) }
      }
      for peer in peers { peer.close() }
      for reader in readers { reader() }
      completion(result)
    }
  }
}

import Base
import Environment
package import Model
package import NIOCore
import Raft
import Records
import Storage
import Synchronization
import Wire

extension RaftDriver {
  /// Values in one batch of a snapshot.
  private static var recordsPerBatch: Int { 1024 }

  /// Writes a snapshot of everything below `endOffset`, which must be committed and the end of a batch, and lets the log begin there.
  ///
  /// - Parameters:
  ///   - records: what rebuilds the state, in order. Called on a background lane.
  ///   - completion: nil once the snapshot is durable, or why there is none. The log stays as it is then.
  package func takeSnapshot(
    endOffset: Offset, records: @escaping @Sendable () -> [ByteBuffer], _ completion: @escaping @Sendable (MetadataLogError?) -> Void
  ) {
    self.work.add {
      let plan = self.state.withLock { state -> (id: LogEnd, voters: VoterSet, version: KRaftVersion)? in
        let index = LogIndex(endOffset.rawValue)
        guard !state.hasFailed, let term = state.machine.log.term(at: index - 1) else { return nil }
        let log = state.machine.log
        return (LogEnd(term: term, index: index), log.voterHistory.value(below: index), log.versionHistory.value(below: index))
      }
      guard let plan else {
        return completion(MetadataLogError("offset \(endOffset) is not in the log", code: .offsetOutOfRange))
      }
      self.environment.submit(to: .background) {
        do {
          let contents = try self.snapshotContents(plan.id, plan.voters, plan.version, records())
          let info = try self.snapshots.write(contents, as: plan.id)
          self.work.add { self.addSnapshot(info) }
          completion(nil)
        } catch {
          completion(error as? MetadataLogError ?? MetadataLogError("\(error)"))
        }
      }
    }
  }

  /// Raft keeps the log from the snapshot before on, so that who is a little behind need not load one.
  private func addSnapshot(_ info: SnapshotInfo) {
    self.runStep(.snapshotTaken(info))
    let known = self.state.withLock { $0.machine.log.snapshots }
    if self.history == nil {
      self.runStep(.prefixExpendable(to: info.id))
    } else if let before = known.dropLast().last {
      self.runStep(.prefixExpendable(to: before.id))
    } else {
      self.environment.submit(to: .background) { self.trimHistory() }
    }
  }

  /// Removes the oldest of what Raft no longer needs, as far as the history's limits demand. On the background lane.
  func trimHistory() {
    guard let history = self.history else { return }
    do {
      let (base, start) = self.state.withLock { ($0.machine.log.base, $0.log.logStartOffset) }
      let now = self.environment.wallClock()
      var snapshots = try self.snapshots.list()
      var snapshotBytes = try snapshots.reduce(Int64(0)) { try $0 + self.snapshots.byteCount(of: $1) }
      var begin = start
      var target: LogEnd?
      for candidate in snapshots where candidate <= base && candidate.index.rawValue > start.rawValue {
        let bytes = snapshotBytes + self.state.withLock { $0.log.byteCount(from: begin) }
        let isTooLarge = history.bytes.map { bytes > $0 } ?? false
        let taken = try self.snapshots.timestamp(of: candidate)
        let isTooOld = if let age = history.age, let taken { now.rawValue - taken.rawValue > age.wholeMilliseconds } else { false }
        guard isTooLarge || isTooOld else { break }
        target = candidate
        begin = Offset(candidate.index.rawValue)
        while let first = snapshots.first, first < candidate {
          snapshotBytes -= try self.snapshots.byteCount(of: first)
          snapshots.removeFirst()
        }
      }
      if target != nil {
        try self.state.withLock { state throws(StorageError) in
          if !state.hasFailed, !state.isClosed { try state.log.advanceLogStart(to: begin) }
        }
      }
      // Those that the leader's snapshot replaced lie before the log.
      if let target = target ?? snapshots.first(where: { $0.index.rawValue >= start.rawValue }) { self.removeExpendable(below: target) }
    } catch {
      let failure = error as? MetadataLogError ?? MetadataLogError("\(error)")
      self.work.add { self.listener.quorumEvent(.cleanUpFailed(failure)) }
    }
  }

  private func snapshotContents(
    _ id: LogEnd, _ voters: VoterSet, _ version: KRaftVersion, _ records: [ByteBuffer]
  ) throws(RecordError) -> ByteBuffer {
    let now = self.environment.wallClock()
    let epoch = LeaderEpoch(id.term.rawValue)
    let workspace = RecordWorkspace()
    var offset = Offset.zero
    var contents = ByteBuffer()
    func add(_ values: ArraySlice<(key: ByteBuffer?, value: ByteBuffer)>, isControl: Bool) throws(RecordError) {
      var builder = RecordBatchBuilder(.init(baseOffset: offset, leaderEpoch: epoch, isControl: isControl))
      for value in values { try builder.append(timestamp: now, key: value.key, value: value.value) }
      var batch = try builder.finish(using: workspace.compressor)
      contents.writeBuffer(&batch)
      offset = offset + Int64(values.count)
    }
    func add(_ records: [ControlRecord]) throws(RecordError) {
      try add(records.map { ($0.key, $0.encodedValue) }[...], isControl: true)
    }
    var head: [ControlRecord] = [.snapshotHeader(SnapshotHeaderRecord(version: 0, lastContainedLogTimestamp: now.rawValue))]
    // Voters from the configuration are the configuration's to tell.
    if version >= .dynamicVoters {
      head += [ControlEntry.kraftVersion(version).record, ControlEntry.voters(voters).record]
    }
    try add(head)
    var rest = records.map { (key: nil as ByteBuffer?, value: $0) }[...]
    while !rest.isEmpty {
      try add(rest.prefix(Self.recordsPerBatch), isControl: false)
      rest = rest.dropFirst(Self.recordsPerBatch)
    }
    try add([.snapshotFooter(SnapshotFooterRecord(version: 0))])
    return contents
  }
}

import Base
import Election
import Environment
import LogCore
import Metadata
import Model
import NIOCore
import Raft
import Records
import Storage
import Synchronization
import Wire

// What the machine wants done.
extension RaftDriver {
  func perform(_ effect: RaftEffect, _ state: inout State, _ aftermath: inout Aftermath) throws(MetadataLogError) {
    switch effect {
    case .persist(let hardState, let token): self.save(hardState, token, &state, &aftermath)
    case .call(let id, let destination, let request, let after):
      let peer = self.peer(at: destination.address, for: request, &state)
      self.hold(until: after, &state, &aftermath) { self.call(peer, id, request) }
    case .answer(let id, let answer, let after):
      guard let send = state.requests.removeValue(forKey: id) else { return }
      // Read now: what the answer speaks of may be gone when it leaves.
      let bytes = try self.bytes(for: answer, &state)
      self.hold(until: after, &state, &aftermath) { send(answer, bytes) }
    case .append(let append): try self.append(append, &state, &aftermath)
    case .truncate(let index, let token): try self.truncate(to: index, token, &state, &aftermath)
    case .writeSnapshot(let chunk):
      guard case .chunk(let bytes)? = state.payloads.removeValue(forKey: chunk.payload) else { return }
      try onMetadataDisk { () throws(DiskError) in try self.snapshots.write(bytes, at: chunk.position, of: chunk.snapshot.id) }
    case .installSnapshot(let info, let token): aftermath.append { self.install(info, token) }
    case .discardSnapshot(let id):
      try onMetadataDisk { () throws(DiskError) in try self.snapshots.discardDownload(of: id) }
    case .dropPrefix(let snapshot): try self.dropPrefix(to: snapshot, &state, &aftermath)
    case .loadSnapshot(let id):
      self.tell(.loadSnapshot(endOffset: Offset(id.index.rawValue), epoch: LeaderEpoch(id.term.rawValue)), &aftermath)
    case .advanceHighWatermark(let index): self.tell(.committed(upTo: Offset(index.rawValue)), &aftermath)
    case .refuseProposal(let payload, let code):
      state.payloads[payload] = nil
      state.refusal = code
    case .confirmRead(let id, let index):
      if let completion = state.reads.removeValue(forKey: id) { aftermath.append { completion(.success(Offset(index.rawValue))) } }
    case .refuseRead(let id, let code):
      if let completion = state.reads.removeValue(forKey: id) { aftermath.append { completion(.failure(ApiError(code))) } }
    case .becomeLeader(let term): self.tell(.becameLeader(LeaderEpoch(term.rawValue)), &aftermath)
    case .stepDown(let term): self.tell(.steppedDown(LeaderEpoch(term.rawValue)), &aftermath)
    case .leaderChanged(let term, let leader): self.tell(.leaderChanged(LeaderEpoch(term.rawValue), leader: leader), &aftermath)
    case .shutDownCompleted: self.tell(.shutDownCompleted, &aftermath)
    case .trace(let trace): self.tell(.trace(trace), &aftermath)
    }
  }

  private func tell(_ event: QuorumEvent, _ aftermath: inout Aftermath) {
    aftermath.append { self.listener.quorumEvent(event) }
  }

  private func hold(
    until token: PersistToken?, _ state: inout State, _ aftermath: inout Aftermath, _ send: @escaping @Sendable () -> Void
  ) {
    if let token, token > state.savedToken { state.held.append(Held(after: token, send: send)) } else { aftermath.append(send) }
  }

  // MARK: - The hard state

  private func save(_ hardState: HardState, _ token: PersistToken, _ state: inout State, _ aftermath: inout Aftermath) {
    state.unsavedState = (hardState, token)
    if state.isSaving { return }
    state.isSaving = true
    aftermath.append { self.environment.submit(to: .metadata) { self.writeState() } }
  }

  /// On the metadata lane. A newer state takes the place of one that was not written yet.
  private func writeState() {
    let next = self.state.withLock { state in
      defer { state.unsavedState = nil }
      return state.unsavedState.map { ($0, $1, state.machine.log.version) }
    }
    guard let (hardState, token, version) = next else { return }
    do throws(DiskError) { try self.stateFile.write(hardState, version: version) } catch {
      return self.fail(MetadataLogError("\(error)"))
    }
    self.work.add {
      let aftermath = self.state.withLock { state -> Aftermath in
        var aftermath: Aftermath = []
        state.savedToken = token
        let ready = state.held.filter { $0.after <= token }
        state.held.removeAll { $0.after <= token }
        for held in ready { aftermath.append(held.send) }
        self.take(.statePersisted(token), &state, &aftermath)
        state.isSaving = state.unsavedState != nil
        if state.isSaving { aftermath.append { self.environment.submit(to: .metadata) { self.writeState() } } }
        return aftermath
      }
      for action in aftermath { action() }
    }
  }

  // MARK: - The log

  private func append(_ append: LogAppend, _ state: inout State, _ aftermath: inout Aftermath) throws(MetadataLogError) {
    let now = self.environment.wallClock()
    invariant(state.log.logEndOffset.rawValue == append.start.rawValue, "\(append) does not go on at \(state.log.logEndOffset)")
    switch append.content {
    case .proposed(let payload, let term):
      guard case .records(let records)? = state.payloads.removeValue(forKey: payload) else { return }
      try self.append(records.map { (nil, $0) }, isControl: false, term, now, &state)
    case .controls(let entries, let term):
      let records = entries.map { ($0.record.key as ByteBuffer?, $0.record.encodedValue) }
      try self.append(records, isControl: true, term, now, &state)
    case .fetched(let payload):
      guard case .batches(let bytes)? = state.payloads.removeValue(forKey: payload) else { return }
      state.bytesSinceCheckpoint += bytes.readableBytes
      do throws(StorageError) { _ = try state.log.appendAsFollower(bytes, now: now) } catch { throw MetadataLogError("\(error)") }
    }
    invariant(state.log.logEndOffset.rawValue == append.end.rawValue, "\(append) ended at \(state.log.logEndOffset)")
    state.unsynced.append(Unsynced(token: append.token, end: state.log.logEndOffset))
    self.flushSoon(&state, &aftermath)
  }

  private func append(
    _ records: [(key: ByteBuffer?, value: ByteBuffer)], isControl: Bool, _ term: Term, _ now: Timestamp, _ state: inout State
  ) throws(MetadataLogError) {
    let epoch = LeaderEpoch(term.rawValue)
    do {
      var builder = RecordBatchBuilder(.init(leaderEpoch: epoch, isControl: isControl))
      for record in records { try builder.append(timestamp: now, key: record.key, value: record.value) }
      let batch = try builder.finish(using: RecordWorkspace().compressor)
      guard let header = batch.withUnsafeReadableBytes({ BatchHeader(reading: $0) }) else {
        throw MetadataLogError("a batch of \(records.count) records came to nothing")
      }
      _ = try state.log.append(header, batch: batch, leaderEpoch: epoch, now: now)
      state.bytesSinceCheckpoint += batch.readableBytes
    } catch {
      throw error as? MetadataLogError ?? MetadataLogError("\(error)")
    }
  }

  private func truncate(
    to index: LogIndex, _ token: PersistToken, _ state: inout State, _ aftermath: inout Aftermath
  ) throws(MetadataLogError) {
    let end = Offset(index.rawValue)
    do throws(StorageError) { try state.log.truncate(to: end, now: self.environment.wallClock()) } catch {
      throw MetadataLogError("\(error)")
    }
    invariant(state.log.logEndOffset == end, "cut at \(end), the log ends at \(state.log.logEndOffset)")
    for place in state.unsynced.indices { state.unsynced[place].end = min(state.unsynced[place].end, end) }
    state.unsynced.append(Unsynced(token: token, end: end))
    self.flushSoon(&state, &aftermath)
  }

  func flushSoon(_ state: inout State, _ aftermath: inout Aftermath) {
    if state.isFlushing { return }
    state.isFlushing = true
    aftermath.append { self.environment.submit(to: .metadata) { self.flush() } }
  }

  /// How long a flush is put off that found no descriptor for its files.
  private static var flushRetryInterval: Duration { .milliseconds(500) }
  /// Bytes appended between two checkpoints: what a start after a crash reads again.
  private static var checkpointBytes: Int { 1 << 20 }

  /// On the metadata lane: syncs what was appended, and says up to which write the log is on disk.
  private func flush() {
    do throws(StorageError) {
      let ticket = try self.state.withLock { state throws(StorageError) in
        state.hasFailed || state.isClosed ? nil : try state.log.beginFlush()
      }
      if let ticket {
        do throws(DiskError) { try ticket.run() } catch { throw .disk(error) }
        self.state.withLock { state in
          _ = state.log.completeFlush(ticket)
          state.isFlushDelayed = false
        }
        self.checkpointIfDue()
      }
    } catch {
      if error.isTransient { return self.putFlushOff(error) }
      return self.fail(MetadataLogError("\(error)"))
    }
    self.work.add {
      let aftermath = self.state.withLock { state -> Aftermath in
        var aftermath: Aftermath = []
        let flushed = state.log.flushedOffset
        let count = state.unsynced.prefix { $0.end <= flushed }.count
        if count > 0 {
          let token = state.unsynced[count - 1].token
          state.unsynced.removeFirst(count)
          self.take(.logPersisted(token), &state, &aftermath)
        }
        state.isFlushing = false
        if !state.unsynced.isEmpty, !state.hasFailed { self.flushSoon(&state, &aftermath) }
        return aftermath
      }
      for action in aftermath { action() }
    }
  }

  /// Nothing was synced and nothing is lost. `isFlushing` stays set, as the flush is still to come.
  private func putFlushOff(_ cause: StorageError) {
    let isNew = self.state.withLock { state in
      defer { state.isFlushDelayed = true }
      return !state.isFlushDelayed
    }
    if isNew { self.work.add { self.listener.quorumEvent(.delayed(MetadataLogError("\(cause)"))) } }
    _ = self.environment.schedule(after: Self.flushRetryInterval) { [weak self] in
      guard let self else { return }
      self.environment.submit(to: .metadata) { self.flush() }
    }
  }

  /// Moves the recovery point up, so that a start after a crash need not check the whole log. It reaches the disk with the directory's
  /// checkpoints, which the directory's owner writes. On the metadata lane.
  private func checkpointIfDue() {
    // A checkpoint that fails, or cannot begin, costs time at the next start and nothing else: the log itself is synced. But where a sync
    // failed the disk is not to be trusted any more.
    let ticket = self.state.withLock { state -> CheckpointTicket<Env.Disk>? in
      guard state.bytesSinceCheckpoint >= Self.checkpointBytes, !state.hasFailed else { return nil }
      state.bytesSinceCheckpoint = 0
      do throws(StorageError) { return try state.log.beginCheckpoint() } catch { return nil }
    }
    guard let ticket else { return }
    let failed: Bool
    do throws(DiskError) {
      try ticket.run()
      failed = false
    } catch { failed = true }
    let hasFailedSync = self.state.withLock { state in
      state.log.completeCheckpoint(ticket, failed: failed)
      return state.log.hasFailedSync
    }
    if hasFailedSync { self.fail(MetadataLogError("a checkpoint of \(Self.topicPartition) could not be synced")) }
  }

  // MARK: - What answers carry

  private func bytes(for answer: OutgoingAnswer, _ state: inout State) throws(MetadataLogError) -> ByteBuffer? {
    do {
      switch answer.body {
      case .fetch(let fetch):
        guard case .entries(let range) = fetch.content else { return nil }
        let slice = try state.log.read(
          from: Offset(range.start.rawValue), maxBytes: Int(range.bytesMax), upTo: Offset(range.end.rawValue), minOneBatch: true)
        return ByteBuffer(bytes: try slice.bytes())
      case .fetchSnapshot(let range):
        return try self.snapshots.read(range.snapshot, from: range.position, byteCountMax: Int(range.bytesMax))
      case .status, .vote, .versions: return nil
      }
    } catch { throw MetadataLogError("\(error)") }
  }

  // MARK: - Snapshots

  /// Puts a download in the place of the log. The checking and syncing runs on the metadata lane, behind every sync of what was before.
  private func install(_ info: SnapshotInfo, _ token: PersistToken) {
    self.environment.submit(to: .metadata) {
      let summary: SnapshotSummary
      do throws(SnapshotFileError) { summary = try self.snapshots.install(info) } catch {
        switch error {
        case .disk(let error): return self.fail(MetadataLogError("\(error)"))
        case .unusable: return self.step(.snapshotUnusable(token))
        }
      }
      self.work.add {
        let aftermath = self.state.withLock { state -> Aftermath in
          var aftermath: Aftermath = []
          do throws(StorageError) {
            try state.log.truncateFully(to: Offset(info.id.index.rawValue), now: self.environment.wallClock())
            state.unsynced = []
            self.take(.snapshotInstalled(token, summary), &state, &aftermath)
          } catch {
            self.fail(MetadataLogError("\(error)"), &state, &aftermath)
          }
          return aftermath
        }
        for action in aftermath { action() }
      }
    }
  }

  private func dropPrefix(to snapshot: LogEnd, _ state: inout State, _ aftermath: inout Aftermath) throws(MetadataLogError) {
    if self.history != nil { return aftermath.append { self.environment.submit(to: .background) { self.trimHistory() } } }
    do throws(StorageError) { try state.log.advanceLogStart(to: Offset(snapshot.index.rawValue)) } catch {
      throw MetadataLogError("\(error)")
    }
    aftermath.append { self.environment.submit(to: .background) { self.removeExpendable(below: snapshot) } }
  }

  /// Removes snapshots and segments that nobody needs any more. On the background lane. What cannot be removed costs room and nothing
  /// else, and is told: the next time takes it along.
  func removeExpendable(below snapshot: LogEnd) {
    do {
      try self.snapshots.removeOlder(than: snapshot)
      let ticket = try self.state.withLock { state throws(StorageError) in
        state.hasFailed || state.isClosed
          ? nil : try state.log.beginRetention(highWatermark: state.log.logStartOffset, now: self.environment.wallClock())
      }
      guard let ticket else { return }
      let isCheckpointed = try ticket.run()
      let removal = try self.state.withLock { state throws(StorageError) -> SegmentRemoval<Env.Disk>? in
        let removal = try state.log.completeRetention(ticket, isCheckpointed: isCheckpointed)
        // Under the lock: nobody may make the same paths anew before.
        do throws(DiskError) { try removal?.mark() } catch { throw .disk(error) }
        return removal
      }
      try removal?.remove()
    } catch {
      let failure = MetadataLogError("\(error)")
      self.work.add { self.listener.quorumEvent(.cleanUpFailed(failure)) }
    }
  }

  private func onMetadataDisk(_ body: () throws(DiskError) -> Void) throws(MetadataLogError) {
    do throws(DiskError) { try body() } catch { throw MetadataLogError("\(error)") }
  }
}

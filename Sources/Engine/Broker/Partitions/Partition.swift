import Base
import Environment
import LogCore
import Metadata
import Model
import Records
import Replication
import Storage
import Synchronization

/// What a partition takes from its topic's configuration.
struct PartitionSettings: Sendable {
  var log: LogConfig
  var flushPolicy: Replication.FlushPolicy
  /// `flush.ms`; nil is never.
  var flushInterval: Duration?
}

/// One partition that this broker leads: its log, the leader's machine and who waits, behind one lock.
///
/// Whoever holds a request steps the state inline; effects run after unlocking, on the same thread. Calls do not block but for the page
/// cache, except those that say so.
final class Partition<Env: Environment>: Sendable {
  typealias Machine = LeaderMachine<Waiter<Env>>
  typealias File = Env.Disk.File

  struct State: Sendable {
    var log: PartitionLog<Env.Disk>
    var leader: Machine
    /// `flush.ms`; nil is never.
    var flushInterval: Duration?
    var isFlushScheduled = false
    /// The last append was refused by the disk; said once until one succeeds.
    var isRefusingAppends = false
    /// The last read found no descriptor for its file; said once until one succeeds.
    var isRefusingReads = false
    /// The last flush had to be put off; said once until one succeeds.
    var isFlushDeferred = false
    /// A timer is set that asks for the flush that was put off.
    var isFlushRetryScheduled = false
  }

  let topicPartition: TopicPartition
  let topicID: KafkaUUID
  let environment: Env
  let syncer: LogDirectorySyncer<Env>
  let events: any BrokerEvents
  let state: Mutex<State>

  init(
    topicID: KafkaUUID, log: PartitionLog<Env.Disk>, node: NodeID, image: PartitionImage, settings: PartitionSettings,
    checkpointedHighWatermark: Offset?, environment: Env, syncer: LogDirectorySyncer<Env>, events: any BrokerEvents
  ) {
    var log = log
    if image.leader == node { log.beginLeaderEpoch(image.leaderEpoch) }
    self.topicPartition = log.topicPartition
    self.topicID = topicID
    self.environment = environment
    self.syncer = syncer
    self.events = events
    let positions = LogPositions(
      logStartOffset: log.logStartOffset, logEndOffset: log.logEndOffset, flushedOffset: log.flushedOffset,
      highWatermark: checkpointedHighWatermark ?? log.logStartOffset)
    // A partition that nobody leads has a machine too, which is told so at once.
    var registration = PartitionRegistration(image)
    registration.leader = node
    let leader = Machine(
      node: node, registration: registration, settings: LeaderSettings(flushPolicy: settings.flushPolicy), log: positions,
      now: environment.now())
    self.state = Mutex(State(log: log, leader: leader, flushInterval: settings.flushInterval))
  }

  /// What the partition is told when it begins or its registration changes: whether this broker leads it, and in which epoch.
  func apply(_ image: PartitionImage, node: NodeID) {
    let event: BrokerEvent? = self.step { state, effects in
      let isNew = image.leader == node && (image.leaderEpoch > state.leader.epoch || state.leader.resignation != nil)
      if isNew { state.log.beginLeaderEpoch(image.leaderEpoch) }
      self.handle(.registrationChanged(PartitionRegistration(image)), &state, &effects)
      if image.leader != node {
        if state.leader.resignation == nil { self.handle(.resigned(.notLeaderOrFollower), &state, &effects) }
        return nil
      }
      self.handle(.began, &state, &effects)
      return isNew ? Self.becameLeader(self.topicPartition, state.leader) : nil
    }
    if let event { self.events.record(event) }
  }

  private static func becameLeader(_ partition: TopicPartition, _ leader: Machine) -> BrokerEvent {
    .becameLeader(partition, leader.epoch, logEndOffset: leader.logEndOffset, highWatermark: leader.highWatermark)
  }

  /// A changed configuration takes effect with the next append.
  func configure(_ settings: PartitionSettings) {
    let flushPolicy = settings.flushPolicy
    self.step { state, effects in
      state.log.config = settings.log
      state.flushInterval = settings.flushInterval
      if state.leader.flushPolicy != flushPolicy {
        self.handle(.settingsChanged(LeaderSettings(flushPolicy: flushPolicy)), &state, &effects)
      }
    }
  }

  /// Whether a read's failure is worth telling: one for want of a descriptor is, once.
  static func isNews(_ error: StorageError, _ state: inout State) -> Bool {
    guard error.isTransient else { return true }
    defer { state.isRefusingReads = true }
    return !state.isRefusingReads
  }

  // MARK: - Stepping

  /// Runs `body` under the lock, then what it brought about.
  func step<Result: Sendable>(_ body: (inout State, inout [Machine.Effect]) -> Result) -> Result {
    let (result, effects) = self.state.withLock { state in
      var effects: [Machine.Effect] = []
      let result = body(&state, &effects)
      return (result, effects)
    }
    self.perform(effects)
    return result
  }

  /// Steps the leader. The controller is part of this process, so its session with us cannot end before we do.
  func handle(_ input: Machine.Input, _ state: inout State, _ effects: inout [Machine.Effect]) {
    state.leader.handle(input, now: self.environment.now(), lease: .unlimited, into: &effects)
  }

  private func perform(_ effects: [Machine.Effect]) {
    for effect in effects {
      switch effect {
      // Readers see it in the state; those who wait have effects of their own.
      case .highWatermarkAdvanced: continue
      // This broker is the only replica: there is no ISR to change and no lease to wait for, and its own events tell the rest.
      case .propose, .awaitLease, .trace: continue
      case .requestFlush: self.syncer.request(self)
      case .acknowledge(.produce(let produce, let place)): produce.settle(place, .none)
      case .fail(.produce(let produce, let place), let code): produce.settle(place, code)
      case .wake(.fetch(let fetch, let place)): fetch.wake(place)
      case .acknowledge(.fetch), .fail(.fetch, _), .wake(.produce): invariant(false, "a waiter was told what it did not wait for")
      }
    }
  }

  /// Takes the partition out of service after its disk failed: produces are refused, records that are known to be durable stay readable.
  func fail(_ error: StorageError) {
    let isNews = self.step { state, effects in
      state.log.takeOffline(error.description)
      if state.leader.resignation != nil { return false }
      self.handle(.resigned(.kafkaStorageError), &state, &effects)
      return true
    }
    if isNews { self.events.record(.partitionOffline(self.topicPartition, cause: error)) }
  }

  /// Ends all waiting because the partition goes away or the broker stops.
  func resign(_ code: ErrorCode) {
    self.step { state, effects in
      if state.leader.resignation == nil { self.handle(.resigned(code), &state, &effects) }
    }
  }

  // MARK: - Produce

  /// Where a produced batch went.
  struct Appended: Sendable {
    var baseOffset: Offset
    /// `none` where the topic has CreateTime.
    var logAppendTime: Timestamp
    var logStartOffset: Offset
    /// What `acks=all` waits for.
    var requiredOffset: Offset
    var isCommitted: Bool
  }

  /// Appends a batch, or finds that it was appended before.
  func append(_ batch: ValidatedBatch, needsInSyncReplicas: Int) -> Result<Appended, ApiError> {
    // A checksum that changes (LogAppendTime) is computed before the lock; it does not cover what the log itself sets.
    let header = batch.patchedHeader(baseOffset: .zero, leaderEpoch: .unknown)
    var failure: StorageError?
    let result: Result<Appended, ApiError> = self.step { state, effects in
      if let resignation = state.leader.resignation { return .failure(ApiError(resignation)) }
      guard state.leader.hasInSyncReplicas(needsInSyncReplicas) else {
        let count = state.leader.inSyncReplicas.count
        return .failure(
          ApiError(.notEnoughReplicas, "\(count) replicas are in sync, min.insync.replicas asks for \(needsInSyncReplicas)."))
      }
      do throws(StorageError) {
        let appended = try state.log.append(
          header, batch: batch.bytes, leaderEpoch: state.leader.epoch, now: self.environment.wallClock())
        state.isRefusingAppends = false
        if !appended.isDuplicate {
          self.handle(.appended(endOffset: state.log.logEndOffset), &state, &effects)
          if let interval = state.flushInterval { self.scheduleFlush(after: interval, &state) }
        }
        let required = appended.lastOffset + 1
        return .success(
          Appended(
            baseOffset: appended.baseOffset, logAppendTime: batch.logAppendTime == nil ? .none : appended.maxTimestamp,
            logStartOffset: appended.logStartOffset, requiredOffset: required, isCommitted: required <= state.leader.highWatermark))
      } catch {
        if case .disk = error, !state.isRefusingAppends {
          state.isRefusingAppends = true
          failure = error
        }
        if case .offline = error { failure = error }
        return .failure(ApiError(error.errorCode, error.description))
      }
    }
    if let failure { self.noteAppendFailure(failure) }
    return result
  }

  /// A write that was undone leaves the partition in service: room may come back. One that could not be undone does not.
  private func noteAppendFailure(_ error: StorageError) {
    let isOnline = self.state.withLock { $0.log.state == .online }
    if isOnline { self.events.record(.appendRefused(self.topicPartition, cause: error)) } else { self.fail(error) }
  }

  func awaitCommit(_ waiter: Waiter<Env>, _ offset: Offset) {
    self.step { state, effects in self.handle(.awaitCommit(waiter, requiredOffset: offset), &state, &effects) }
  }

  func cancelCommit(_ waiter: Waiter<Env>) {
    self.step { state, effects in self.handle(.cancelCommit(waiter), &state, &effects) }
  }

  // MARK: - Flush

  private func scheduleFlush(after interval: Duration, _ state: inout State) {
    if state.isFlushScheduled { return }
    state.isFlushScheduled = true
    _ = self.environment.schedule(after: interval) { [weak self] in
      guard let self else { return }
      let isNeeded = self.state.withLock { state in
        state.isFlushScheduled = false
        return state.log.state == .online && state.log.hasUnflushed
      }
      if isNeeded { self.syncer.request(self) }
    }
  }

  /// Makes everything appended so far durable and tells who waits for it. Blocks: on the sync lane of the log's directory.
  func flush() {
    do throws(StorageError) {
      let ticket = try self.state.withLock { state throws(StorageError) in
        var none: [Machine.Effect] = []
        self.handle(.flushBegan, &state, &none)
        // Closed or deleted since it was asked for: whoever did that has seen to what was appended.
        return state.log.state == .online ? try state.log.beginFlush() : nil
      }
      do throws(DiskError) { try ticket?.run() } catch { throw StorageError.disk(error) }
      self.step { state, effects in
        state.isFlushDeferred = false
        if let ticket { state.log.completeFlush(ticket) }
        self.handle(.flushed(upTo: state.log.flushedOffset), &state, &effects)
      }
    } catch {
      if error.isTransient { self.deferFlush(error) } else { self.fail(error) }
    }
  }

  /// How long a flush is put off that found no descriptor for its files. Whatever is appended meanwhile asks for one sooner.
  private static var flushRetryInterval: Duration { .milliseconds(500) }

  /// Nothing was synced and nothing is lost: whoever waits goes on waiting.
  private func deferFlush(_ cause: StorageError) {
    let (isNews, mustSchedule) = self.state.withLock { state in
      defer { (state.isFlushDeferred, state.isFlushRetryScheduled) = (true, true) }
      return (!state.isFlushDeferred, !state.isFlushRetryScheduled)
    }
    if isNews { self.events.record(.flushDeferred(self.topicPartition, cause: cause)) }
    // Every append meanwhile may ask for a flush and have it put off, so one timer stands for all.
    guard mustSchedule else { return }
    _ = self.environment.schedule(after: Self.flushRetryInterval) { [weak self] in
      guard let self else { return }
      let isNeeded = self.state.withLock { state in
        state.isFlushRetryScheduled = false
        return state.log.state == .online && state.log.hasUnflushed
      }
      if isNeeded { self.syncer.request(self) }
    }
  }

  // MARK: - Waiting fetches

  func awaitFetch(_ waiter: Waiter<Env>, from offset: Offset) {
    self.step { state, effects in self.handle(.awaitFetch(waiter, from: offset), &state, &effects) }
  }

  func cancelFetch(_ waiter: Waiter<Env>) {
    self.step { state, effects in self.handle(.cancelFetch(waiter), &state, &effects) }
  }
}

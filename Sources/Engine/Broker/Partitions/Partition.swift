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
  var leader: LeaderSettings
  var follower: FollowerSettings
  /// `flush.ms`; nil is never.
  var flushInterval: Duration?
  /// Replicas of the topic that a replication quota holds for (KIP-73).
  var throttledLeaders = ThrottledReplicas.none
  var throttledFollowers = ThrottledReplicas.none
}

/// One replica of a partition: its log, the machine of its role and who waits, behind one lock.
///
/// While this broker leads the partition its `LeaderMachine` decides. While another does, or nobody, a `FollowerMachine` does, and the
/// leader's machine is one that has resigned: it refuses, and knows who leads instead. Positions are carried from the one to the other.
///
/// Whoever holds a request steps the state inline; effects run after unlocking, on the same thread. Calls do not block but for the page
/// cache, except those that say so.
final class Partition<Env: Environment>: Sendable {
  typealias Machine = LeaderMachine<Waiter<Env>>
  typealias Follower = FollowerMachine<Waiter<Env>>
  typealias File = Env.Disk.File

  struct State: Sendable {
    var log: PartitionLog<Env.Disk>
    var leader: Machine
    /// Nil while this broker leads.
    var follower: Follower?
    /// What the follower is to cut off its log, on the background lane.
    var pendingCut: LogCut?
    /// Effects of the follower's that are to be carried out, in their order: two threads must not swap "fetch" and "stop fetching".
    var outbox: [Follower.Effect] = []
    var isDelivering = false
    /// When the leader's timer is set for.
    var armedFor: Instant?
    var settings: PartitionSettings
    /// The replication quotas hold for this replica, as a leader and as a follower, while it or the follower is not in sync.
    var isThrottledLeader = false
    var isThrottledFollower = false
    /// The controller counts this follower as in sync.
    var isInSync = false
    var isFlushScheduled = false
    /// The last append was refused by the disk; said once until one succeeds.
    var isRefusingAppends = false
    /// The last read found no descriptor for its file; said once until one succeeds.
    var isRefusingReads = false
    /// The last flush had to be put off; said once until one succeeds.
    var isFlushDeferred = false
    /// A timer is set that asks for the flush that was put off.
    var isFlushRetryScheduled = false
    /// The recovery point is about to be moved behind what was synced in the background.
    var isCheckpointScheduled = false

    /// Up to where this replica may show the log to consumers.
    var highWatermark: Offset { self.follower?.log.highWatermark ?? self.leader.highWatermark }
    /// Whether this broker leads or follows: while it does, nothing ends that waits here.
    var isInService: Bool { self.log.state == .online && !self.hasFailed && (self.follower != nil || self.leader.resignation == nil) }
    /// The log's disk failed: there is no way back into service.
    /// What is copied here counts against the quota.
    var isHeldToQuota: Bool { self.isThrottledFollower && !self.isInSync && self.follower?.isBehind == true }
    var hasFailed: Bool { self.leader.resignation == .kafkaStorageError || self.follower?.phase == .failed }
  }

  /// What a step brought about, to be carried out once the lock is released.
  struct Effects {
    var leader: [Machine.Effect] = []
    var follower: [Follower.Effect] = []
    /// The log went out of service.
    var failure: StorageError?
  }

  let topicPartition: TopicPartition
  let topicID: KafkaUUID
  let node: NodeID
  let environment: Env
  let surroundings: PartitionSurroundings<Env>
  let events: any BrokerEvents
  let state: Mutex<State>

  var key: TopicIDPartition { TopicIDPartition(self.topicID, self.topicPartition.partition) }

  /// A replica that has no role yet: `apply` gives it one.
  init(
    topicID: KafkaUUID, log: PartitionLog<Env.Disk>, image: PartitionImage, settings: PartitionSettings,
    checkpointedHighWatermark: Offset?, surroundings: PartitionSurroundings<Env>
  ) {
    self.topicPartition = log.topicPartition
    self.topicID = topicID
    self.node = surroundings.node
    self.environment = surroundings.environment
    self.surroundings = surroundings
    self.events = surroundings.events
    let positions = LogPositions(
      logStartOffset: log.logStartOffset, logEndOffset: log.logEndOffset, flushedOffset: log.flushedOffset,
      highWatermark: checkpointedHighWatermark ?? log.logStartOffset)
    let now = surroundings.environment.now()
    // It leads nothing, so that it has to be told that it does.
    var registration = PartitionRegistration(image)
    (registration.leader, registration.leaderEpoch) = (surroundings.node, .unknown)
    registration.partitionEpoch = PartitionEpoch(-1)
    var leader = Machine(node: surroundings.node, registration: registration, settings: settings.leader, log: positions, now: now)
    var none: [Machine.Effect] = []
    leader.handle(.resigned(.notLeaderOrFollower), now: now, lease: .none, into: &none)
    let follower = Follower(node: surroundings.node, settings: settings.follower, log: positions, lastEpoch: Self.lastEpoch(log))
    self.state = Mutex(State(log: log, leader: leader, follower: follower, settings: settings))
    self.state.withLock { self.throttle(&$0) }
    #if APUS_MUTANTS
      let mutant = surroundings.environment.mutant.flatMap { Mutant(rawValue: $0) }
      self.state.withLock { state in (state.leader.mutant, state.follower!.mutant) = (mutant, mutant) }
    #endif
  }

  /// A changed configuration takes effect with the next append.
  func configure(_ settings: PartitionSettings) {
    let (isThrottled, isReleased) = self.step { state, effects -> (Bool?, Bool) in
      let old = state.settings
      state.settings = settings
      state.log.config = settings.log
      if state.follower != nil {
        if old.follower != settings.follower { self.handle(.settingsChanged(settings.follower), &state, &effects) }
      } else if old.leader != settings.leader {
        self.handle(.settingsChanged(settings.leader), &state, &effects)
      }
      let (wasThrottled, wasThrottledLeader) = (state.isHeldToQuota, state.isThrottledLeader)
      self.throttle(&state)
      return (state.isHeldToQuota == wasThrottled ? nil : state.isHeldToQuota, wasThrottledLeader && !state.isThrottledLeader)
    }
    if isReleased { self.surroundings.leaderThrottle.release() }
    if let isThrottled { self.surroundings.fetchers.throttle(self, isThrottled) }
  }

  private func throttle(_ state: inout State) {
    let id = self.topicPartition.partition
    state.isThrottledLeader = state.settings.throttledLeaders.contains(id, on: self.node)
    state.isThrottledFollower = state.settings.throttledFollowers.contains(id, on: self.node)
  }

  /// Whether a read's failure is worth telling: one for want of a descriptor is, once.
  static func isNews(_ error: StorageError, _ state: inout State) -> Bool {
    guard error.isTransient else { return true }
    defer { state.isRefusingReads = true }
    return !state.isRefusingReads
  }

  // MARK: - Stepping

  /// Runs `body` under the lock, then what it brought about.
  func step<Result: Sendable>(_ body: (inout State, inout Effects) -> Result) -> Result {
    let (result, effects) = self.state.withLock { state in
      var effects = Effects()
      let result = body(&state, &effects)
      if !effects.follower.isEmpty { state.outbox += effects.follower }
      return (result, effects)
    }
    if !effects.leader.isEmpty { self.perform(effects.leader) }
    if !effects.follower.isEmpty { self.deliver() }
    if let failure = effects.failure { self.fail(failure) }
    return result
  }

  /// Steps the leader.
  func handle(_ input: Machine.Input, _ state: inout State, _ effects: inout Effects) {
    let now = self.environment.now()
    state.leader.handle(input, now: now, lease: self.surroundings.lease.current, into: &effects.leader)
    if let deadline = state.leader.nextDeadline { self.arm(deadline, &state) }
  }

  private func perform(_ effects: [Machine.Effect]) {
    for effect in effects {
      switch effect {
      // Readers see it in the state; those who wait have effects of their own.
      case .highWatermarkAdvanced: continue
      case .requestFlush: self.surroundings.syncer.request(self)
      case .acknowledge(.produce(let produce, let place)): produce.settle(place, .none)
      case .fail(.produce(let produce, let place), let code): produce.settle(place, code)
      case .acknowledge(.deletion(let deletion, let place)): deletion.settle(place, .none)
      case .fail(.deletion(let deletion, let place), let code): deletion.settle(place, code)
      case .wake(.fetch(let fetch, let place)): fetch.wake(place)
      case .wake(.follower(let session, let place)): session.wake(place)
      case .propose(let proposal): self.surroundings.proposals.propose(proposal, for: self)
      case .awaitLease: self.surroundings.leaseWaits.add(self)
      case .trace(let event): self.tell(event)
      case .acknowledge(.fetch), .acknowledge(.follower), .fail(.fetch, _), .fail(.follower, _), .wake(.produce), .wake(.deletion):
        invariant(false, "a waiter was told what it did not wait for")
      }
    }
  }

  /// Reports what a machine tells of itself, but for what the broker's own events say.
  func tell(_ event: ReplicationEvent) {
    switch event {
    case .tookLeadership: return
    case .resigned(_, successor: nil), .stoppedFollowing(.notLeaderOrFollower), .stoppedFollowing(.unknownTopicOrPartition): return
    default: self.events.record(.replica(self.topicPartition, event))
    }
  }

  /// Takes the partition out of service after its disk failed: produces are refused, records that are known to be durable stay readable.
  ///
  /// - Parameter isToldOfAll: the whole directory failed, and that is said once.
  func fail(_ error: StorageError, isToldOfAll: Bool = false) {
    let isNews = self.step { state, effects in
      state.log.takeOffline(error.description)
      if state.hasFailed { return false }
      self.end(.kafkaStorageError, &state, &effects)
      return true
    }
    if isNews, !isToldOfAll { self.events.record(.partitionOffline(self.topicPartition, cause: error)) }
    if isNews { self.surroundings.directoryHealth.report(error) }
  }

  /// Ends all waiting because the partition goes away or the broker stops.
  func resign(_ code: ErrorCode) {
    self.step { state, effects in
      if !state.hasFailed { self.end(code, &state, &effects) }
    }
  }

  private func end(_ code: ErrorCode, _ state: inout State, _ effects: inout Effects) {
    state.pendingCut = nil
    if state.follower != nil { self.handle(.stopped(code), &state, &effects) }
    self.handle(.resigned(code), &state, &effects)
    self.surroundings.proposals.withdraw(self.key)
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
  func append(_ batch: ValidatedBatch, needsAll: Bool) -> Result<Appended, ApiError> {
    // A checksum that changes (LogAppendTime) is computed before the lock; it does not cover what the log itself sets.
    let header = batch.patchedHeader(baseOffset: .zero, leaderEpoch: .unknown)
    var failure: StorageError?
    let result: Result<Appended, ApiError> = self.step { state, effects in
      let lease = self.surroundings.lease.current
      if let refusal = state.leader.refusalOfProduce(needsAll: needsAll, now: self.environment.now(), lease: lease) {
        return .failure(ApiError(refusal, refusal == .notEnoughReplicas ? Self.tooFewReplicas(state.leader) : nil))
      }
      do throws(StorageError) {
        let appended = try state.log.append(
          header, batch: batch.bytes, leaderEpoch: state.leader.epoch, now: self.environment.wallClock())
        state.isRefusingAppends = false
        if !appended.isDuplicate {
          self.handle(.appended(endOffset: state.log.logEndOffset), &state, &effects)
          if let interval = state.settings.flushInterval { self.scheduleFlush(after: interval, &state) }
          if appended.didRoll { self.segmentClosed(state) }
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

  private static func tooFewReplicas(_ leader: Machine) -> String {
    "\(leader.inSyncReplicas.count) replicas are in sync, min.insync.replicas asks for \(leader.minInSyncReplicas)."
  }

  /// A write that was undone leaves the partition in service: room may come back. One that could not be undone does not.
  func noteAppendFailure(_ error: StorageError) {
    let isOnline = self.state.withLock { $0.log.state == .online }
    if isOnline { self.events.record(.appendRefused(self.topicPartition, cause: error)) } else { self.fail(error) }
  }

  /// Somebody waits for what was written to be committed.
  var isAwaitingCommit: Bool { self.state.withLock { $0.follower == nil && $0.leader.isAwaitingCommit } }

  func awaitCommit(_ waiter: Waiter<Env>, _ offset: Offset) {
    self.step { state, effects in self.handle(.awaitCommit(waiter, requiredOffset: offset), &state, &effects) }
  }

  func cancelCommit(_ waiter: Waiter<Env>) {
    self.step { state, effects in self.handle(.cancelCommit(waiter), &state, &effects) }
  }

  // MARK: - Waiting fetches

  func awaitFetch(_ waiter: Waiter<Env>, from offset: Offset) {
    self.step { state, effects in
      if state.follower != nil {
        self.handle(Follower.Input.awaitFetch(waiter, from: offset), &state, &effects)
      } else {
        self.handle(Machine.Input.awaitFetch(waiter, from: offset), &state, &effects)
      }
    }
  }

  func cancelFetch(_ waiter: Waiter<Env>) {
    self.step { state, effects in
      // It may have begun to wait in the other role.
      if state.follower != nil { self.handle(Follower.Input.cancelFetch(waiter), &state, &effects) }
      self.handle(Machine.Input.cancelFetch(waiter), &state, &effects)
    }
  }
}

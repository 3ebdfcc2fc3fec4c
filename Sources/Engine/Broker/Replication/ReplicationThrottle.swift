import Base
import Environment
import Metadata
import Replication
import Synchronization

/// One side's replication quota (KIP-73), which the throttled partitions of this broker share, and what waits for it to be free again.
///
/// Unlike Kafka, only what the quota holds back counts against it: not what goes to replicas that are in sync. So a move gets on at its
/// rate however much is produced meanwhile, where in Kafka a partition that is written to faster than the quota would never arrive.
final class ReplicationThrottle<Env: Environment>: Expirable {
  private struct State: Sendable {
    var quota: ReplicationQuota
    var isExceeded = false
    var waiting: [@Sendable () -> Void] = []
  }
  private let environment: Env
  private let deadlines: DeadlineQueue<Env>
  private let state: Mutex<State>

  init(environment: Env, deadlines: DeadlineQueue<Env>, settings: ReplicationQuota.Settings) {
    (self.environment, self.deadlines) = (environment, deadlines)
    self.state = Mutex(State(quota: ReplicationQuota(settings)))
  }

  /// Nothing is to be copied now. From when this becomes true until it is false again `whenFree` waits.
  var isExceeded: Bool { self.state.withLock { $0.isExceeded } }

  /// Counts what was copied. Returns whether that was more than the quota, and the copying before it was not.
  func record(_ byteCount: Int) -> Bool {
    let now = self.environment.now()
    return self.state.withLock { state in
      state.quota.record(byteCount, now: now)
      if state.isExceeded { return false }
      self.look(&state, now)
      return state.isExceeded
    }
  }

  /// Runs `body` once more may be copied, at once if it may be now.
  func whenFree(_ body: @escaping @Sendable () -> Void) {
    let isFree = self.state.withLock { state in
      if state.isExceeded { state.waiting.append(body) }
      return !state.isExceeded
    }
    if isFree { body() }
  }

  /// - Parameter bytesPerSecond: nil: no limit.
  /// - Returns: whether copying is held back from now on, or no longer.
  func limit(to bytesPerSecond: Int64?) -> Bool {
    let now = self.environment.now()
    return self.change { state in
      if state.quota.settings.bytesPerSecond == bytesPerSecond { return }
      state.quota.settings.bytesPerSecond = bytesPerSecond
      self.look(&state, now)
    }
  }

  /// What waits looks again, since the quota may not hold for it any more. What it still holds for comes back.
  func release() {
    let waiting = self.state.withLock { state in
      defer { state.waiting = [] }
      return state.waiting
    }
    for body in waiting { body() }
  }

  func expire() {
    let now = self.environment.now()
    _ = self.change { state in if state.isExceeded { self.look(&state, now) } }
  }

  private func change(_ body: (inout State) -> Void) -> Bool {
    let (isChanged, freed) = self.state.withLock { state in
      let before = state.isExceeded
      body(&state)
      if state.isExceeded { return (!before, [] as [@Sendable () -> Void]) }
      defer { state.waiting = [] }
      return (before, state.waiting)
    }
    for body in freed { body() }
    return isChanged
  }

  /// A timer of an earlier look, which fires too early or too often, only looks again.
  private func look(_ state: inout State, _ now: Instant) {
    let free = state.quota.exceededUntil(now)
    state.isExceeded = free != nil
    if let free { _ = self.deadlines.add(self, deadline: free) }
  }
}

extension Broker {
  /// The rates as they are set now. What waits for a quota that was raised goes on at once.
  func limitReplication(_ image: MetadataImage) {
    let layers = self.configLayers(image)
    _ = self.leaderThrottle.limit(to: layers.throttledRate("leader.replication.throttled.rate"))
    self.fetchers.limit(to: layers.throttledRate("follower.replication.throttled.rate"))
  }
}

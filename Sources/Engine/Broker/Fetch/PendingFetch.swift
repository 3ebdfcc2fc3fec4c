import Base
import Environment
import Model
import Synchronization

/// A fetch that waits for more bytes than there are. It holds no thread: partitions wake it when their high watermark moves, and its
/// deadline ends it.
final class PendingFetch<Env: Environment>: WaitingFetch {
  private struct State: Sendable {
    var isOver = false
    var deadline: DeadlineQueue<Env>.Handle?
    /// Readable bytes of each partition when it was last looked at.
    var available: [Int]
    var total: Int
  }

  private let broker: Broker<Env>
  private let exchange: Exchange<Env.Disk.File>
  private let plan: FetchPlan
  private let targets: [FetchTarget<Env>]
  private let limits: FetchLimits
  private let state: Mutex<State>

  init(
    broker: Broker<Env>, exchange: Exchange<Env.Disk.File>, plan: FetchPlan, targets: [FetchTarget<Env>], limits: FetchLimits,
    reads: FetchReads<Env>
  ) {
    self.broker = broker
    self.exchange = exchange
    self.plan = plan
    self.targets = targets
    self.limits = limits
    self.state = Mutex(State(available: reads.reads.map { $0.byteCount }, total: reads.byteCount))
  }

  var partitionCount: Int { self.targets.count }

  /// Begins to wait. The answer may go out before this returns.
  ///
  /// - Parameter reads: what was read just before: each partition is watched from where that ended.
  func start(after reads: FetchReads<Env>) {
    guard self.broker.connectionWaits.add(self, connectionID: self.exchange.client.connectionID) else { return self.finish() }
    let handle = self.broker.deadlines.add(self, deadline: self.broker.environment.now() + self.limits.maxWait)
    self.state.withLock { $0.deadline = handle }
    for (index, target) in self.targets.enumerated() {
      guard case .success(let partition) = target.partition else { continue }
      partition.awaitFetch(.fetch(self, index), from: max(target.interest.fetchOffset, reads.reads[index].highWatermark))
    }
    // It may have ended while it was still being registered; what came after that is taken back.
    if self.state.withLock({ $0.isOver }) { self.cancelWaits() }
  }

  /// The partition at `index` has something new, or cannot be waited for any more.
  func wake(_ index: Int) {
    guard self.limits.minBytes > 1, case .success(let partition) = self.targets[index].partition else { return self.finish() }
    let interest = self.targets[index].interest
    let read = partition.read(interest, for: self.limits.consumer, maxBytes: interest.maxByteCount, takesOversizedBatch: true)
    if read.isUrgent { return self.finish() }
    let isEnough = self.state.withLock { state in
      state.total += read.byteCount - state.available[index]
      state.available[index] = read.byteCount
      return state.total >= self.limits.minBytes
    }
    if isEnough { return self.finish() }
    partition.awaitFetch(.fetch(self, index), from: read.highWatermark)
    if self.state.withLock({ $0.isOver }) { partition.cancelFetch(.fetch(self, index)) }
  }

  func expire() { self.finish() }

  func abandon() {
    if self.end() { self.exchange.skip() }
  }

  /// Ends the waiting; true for the one caller that ended it.
  private func end() -> Bool {
    let (isFirst, deadline) = self.state.withLock { state in
      defer { state.isOver = true }
      return (!state.isOver, state.deadline)
    }
    guard isFirst else { return false }
    if let deadline { self.broker.deadlines.cancel(deadline) }
    self.broker.connectionWaits.remove(self, connectionID: self.exchange.client.connectionID)
    self.cancelWaits()
    return true
  }

  private func finish() {
    guard self.end() else { return }
    // Read again: what was there at the beginning may have grown, and other partitions with it.
    let reads = FetchReads(self.targets, limits: self.limits)
    self.broker.answerFetch(
      self.exchange, plan: self.plan, targets: self.targets, reads: reads, isReadCommitted: self.limits.isReadCommitted)
  }

  private func cancelWaits() {
    for (index, target) in self.targets.enumerated() {
      if case .success(let partition) = target.partition { partition.cancelFetch(.fetch(self, index)) }
    }
  }
}

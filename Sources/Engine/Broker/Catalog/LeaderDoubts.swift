import Base
import Environment
import Model
import Replication
import Synchronization

/// Answers to Metadata that wait because they would name a leader that may just have died (`BrokerDoubts`).
final class LeaderDoubts<Env: Environment>: Sendable {
  /// For so long after its connection ended an answer that would name a broker waits. No longer, since other answers of the same
  /// connection wait behind it: from then on its partitions have no leader as far as clients are told, so that they ask again.
  private static var waitMax: Duration { .milliseconds(400) }
  /// How much later than a client this broker may hear that a connection ended.
  private static var hearingDelay: Duration { .microseconds(500) }
  /// Beyond this even a patient controller's cluster goes on to name the broker.
  private static var doubtMax: Duration { .seconds(2) }

  private struct State: Sendable {
    var doubts: BrokerDoubts
    var waiting: [Waiting] = []
  }

  /// One answer.
  final class Waiting: Expirable {
    fileprivate let leaders: [NodeID]
    private let answer: Mutex<(@Sendable () -> Void)?>

    fileprivate init(leaders: [NodeID], answer: @escaping @Sendable () -> Void) {
      self.leaders = leaders
      self.answer = Mutex(answer)
    }

    func expire() { self.finish() }

    /// It has been answered, and waits for nothing.
    fileprivate var isFinished: Bool { self.answer.withLock { $0 == nil } }

    /// Answers, unless it has.
    fileprivate func finish() {
      let answer = self.answer.withLock { answer in
        defer { answer = nil }
        return answer
      }
      answer?()
    }
  }

  private let environment: Env
  private let deadlines: DeadlineQueue<Env>
  private let state: Mutex<State>
  private let isEmpty = Atomic(true)

  /// - Parameter session: how long the controller bears a silent broker.
  init(environment: Env, deadlines: DeadlineQueue<Env>, session: Duration) {
    self.environment = environment
    self.deadlines = deadlines
    self.state = Mutex(State(doubts: BrokerDoubts(doubtMax: min(session * 2, Self.doubtMax))))
  }

  func connectionEnded(with node: NodeID) {
    self.state.withLock { state in
      state.doubts.connectionEnded(with: node, now: self.environment.now())
      self.isEmpty.store(false, ordering: .releasing)
    }
  }

  /// The brokers answered, or the catalog that was just published has something new of them. Cheap where nobody is doubted.
  func settled(_ nodes: some Sequence<NodeID>) {
    if self.isEmpty.load(ordering: .acquiring) { return }
    let ready = self.state.withLock { state -> [Waiting] in
      var hasChanged = false
      for node in nodes where state.doubts.settled(node) { hasChanged = true }
      guard hasChanged else { return [] }
      self.isEmpty.store(state.doubts.isEmpty, ordering: .releasing)
      let now = self.environment.now()
      var ready: [Waiting] = []
      state.waiting.removeAll { waiting in
        if waiting.leaders.contains(where: { state.doubts.doubted($0, now: now) != nil }) { return false }
        ready.append(waiting)
        return true
      }
      return ready
    }
    for waiting in ready { waiting.finish() }
  }

  /// Those of whom clients are not to be told as leaders.
  func doubted() -> Set<NodeID> {
    if self.isEmpty.load(ordering: .acquiring) { return [] }
    let now = self.environment.now()
    return self.state.withLock { state in Set(state.doubts.nodes.filter { state.doubts.doubted($0, now: now) != nil }) }
  }

  /// Runs `answer`, which names these leaders, once none of them is in doubt, or when it has waited long enough.
  ///
  /// The end of a dead broker's connections is heard of by its clients in the same moment as here, and the quickest of them would be
  /// answered before it is: hence a short wait before anybody is trusted.
  func whenCertain(of leaders: Set<NodeID>, _ answer: @escaping @Sendable () -> Void) {
    if leaders.isEmpty { return answer() }
    _ = self.environment.schedule(after: Self.hearingDelay) { self.whenSettled(leaders, answer) }
  }

  private func whenSettled(_ leaders: Set<NodeID>, _ answer: @escaping @Sendable () -> Void) {
    if self.isEmpty.load(ordering: .acquiring) { return answer() }
    let now = self.environment.now()
    let waiting = self.state.withLock { state -> (Waiting, until: Instant)? in
      let doubted = leaders.compactMap { node in state.doubts.doubted(node, now: now).map { (node, $0) } }
      guard let last = doubted.map(\.1).max(), now < last + Self.waitMax else { return nil }
      // Those whose time was up went without a word.
      state.waiting.removeAll { $0.isFinished }
      let waiting = Waiting(leaders: doubted.map(\.0), answer: answer)
      state.waiting.append(waiting)
      return (waiting, last + Self.waitMax)
    }
    guard let (waiting, until) = waiting else { return answer() }
    _ = self.deadlines.add(waiting, deadline: until)
  }
}

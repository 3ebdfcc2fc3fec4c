import Base
import Model
import Replication
import Testing

private typealias Machine = ReplicaFetcherMachine<Int>

private func position(_ offset: Int64) -> FetchPosition {
  FetchPosition(currentLeaderEpoch: LeaderEpoch(1), fetchOffset: Offset(offset), lastFetchedEpoch: .unknown, logStartOffset: .zero)
}

private struct FetcherHarness {
  var machine: Machine
  var now = Instant.origin + .seconds(10)
  /// The request in flight.
  var plan: FetchPlan<Int>?

  init() { self.machine = Machine(now: self.now) }

  /// The request that the inputs lead to, if any.
  @discardableResult
  mutating func does(_ inputs: Machine.Input...) -> FetchPlan<Int>? { self.does(inputs) }

  @discardableResult
  mutating func does(_ inputs: [Machine.Input]) -> FetchPlan<Int>? {
    var effects: [Machine.Effect] = []
    for input in inputs { self.machine.handle(input, now: self.now, into: &effects) }
    self.machine.handle(.turnEnded, now: self.now, into: &effects)
    for case .send(let plan) in effects {
      self.plan = plan
      return plan
    }
    return nil
  }

  func answered(_ keys: [Int], session: Int32 = 77, error: ErrorCode = .none) -> Machine.Input {
    .answered(number: self.plan!.number, sessionID: session, error: error, keys: keys)
  }

  /// A session with partitions 1 to `count`, all at offset 0, and an empty request in flight.
  mutating func open(_ count: Int) {
    self.does((1...count).map { .ready($0, position(0), notBefore: nil) })
    self.does(self.answered([]))
  }
}

extension FetchPlan<Int> {
  fileprivate var keys: [Int] { self.positions.map(\.key) }
}

@Suite("The machine that fetches many partitions from one broker")
struct ReplicaFetcherTests {
  @Test("The first request is full and opens a session; the next carry only what changed")
  func incremental() {
    var fetcher = FetcherHarness()
    let full = fetcher.does(.ready(1, position(0), notBefore: nil), .ready(2, position(5), notBefore: nil))
    #expect(full?.sessionID == 0 && full?.sessionEpoch == 0)
    #expect(full?.keys.sorted() == [1, 2])
    // A request is in flight: nothing else goes.
    #expect(fetcher.does(.ready(3, position(0), notBefore: nil)) == nil)
    let next = fetcher.does(fetcher.answered([1]), .ready(1, position(9), notBefore: nil))
    #expect(next?.sessionID == 77 && next?.sessionEpoch == 1)
    #expect(next?.positions == [.init(key: 3, position: position(0)), .init(key: 1, position: position(9))])
    #expect(next?.forgotten == [])
    let empty = fetcher.does(fetcher.answered([]))
    #expect(empty?.sessionEpoch == 2 && empty?.positions == [])
  }

  @Test("A position that the leader has already is not sent again")
  func unchanged() {
    var fetcher = FetcherHarness()
    fetcher.open(2)
    #expect(fetcher.does(fetcher.answered([1]), .ready(1, position(0), notBefore: nil))?.positions == [])
  }

  @Test("Who leaves is forgotten once; who comes back before the leader was told stays")
  func removal() {
    var fetcher = FetcherHarness()
    fetcher.open(3)
    #expect(fetcher.does(.removed(1), .removed(2), .ready(2, position(4), notBefore: nil)) == nil)
    let plan = fetcher.does(fetcher.answered([]))
    #expect(plan?.forgotten == [1])
    #expect(plan?.positions == [.init(key: 2, position: position(4))])
    #expect(fetcher.machine.count == 2)
    #expect(fetcher.does(fetcher.answered([]))?.forgotten == [])
    fetcher.does(.removed(2), .removed(3))
    let last = fetcher.does(fetcher.answered([]))
    #expect(last?.forgotten == [2, 3])
    #expect(fetcher.does(fetcher.answered([])) == nil)
    #expect(fetcher.machine.isIdle)
    #expect(fetcher.machine.nextDeadline == nil)
  }

  @Test("The next request waits a little for partitions that are being flushed, and then goes without them")
  func patience() {
    var fetcher = FetcherHarness()
    fetcher.open(3)
    #expect(fetcher.does(fetcher.answered([1, 2]), .ready(1, position(3), notBefore: nil)) == nil)
    #expect(fetcher.machine.nextDeadline == fetcher.now + .milliseconds(10))
    fetcher.now = fetcher.now + .milliseconds(10)
    let plan = fetcher.does(.timerFired)
    #expect(plan?.keys == [1])
    // Or the leader would send it the same records again.
    #expect(plan?.forgotten == [2])
    #expect(fetcher.does(fetcher.answered([]), .ready(2, position(8), notBefore: nil))?.keys == [2])
  }

  @Test("While it backs off, a partition that is still being flushed wakes nobody")
  func patienceWhileBackingOff() {
    var fetcher = FetcherHarness()
    fetcher.open(2)
    fetcher.does(fetcher.answered([1]))
    fetcher.now = fetcher.now + .milliseconds(10)
    #expect(fetcher.does(.timerFired) != nil, "it goes on without the one that is flushed")
    fetcher.does(.failed(number: fetcher.plan!.number))
    #expect(fetcher.machine.nextDeadline == fetcher.now + .milliseconds(50))
    fetcher.now = fetcher.now + .milliseconds(50)
    #expect(fetcher.does(.timerFired)?.keys == [2])
  }

  @Test("Partitions whose flush hangs do not keep the others waiting, however many they are")
  func hangingFlushes() {
    var fetcher = FetcherHarness()
    fetcher.open(5)
    fetcher.does(fetcher.answered([1, 2, 3]))
    fetcher.now = fetcher.now + .milliseconds(10)
    #expect(fetcher.does(.timerFired)?.forgotten == [1, 2, 3])
    #expect(fetcher.does(fetcher.answered([4])) == nil)
    #expect(fetcher.machine.nextDeadline == fetcher.now + .milliseconds(10))
    fetcher.now = fetcher.now + .milliseconds(10)
    #expect(fetcher.does(.timerFired)?.forgotten == [4])
    #expect(fetcher.does(fetcher.answered([])) == nil)
    #expect(fetcher.machine.nextDeadline == fetcher.now + .milliseconds(10))
  }

  @Test("With nothing but partitions that are being flushed it waits as long as they do")
  func allBusy() {
    var fetcher = FetcherHarness()
    fetcher.open(1)
    #expect(fetcher.does(fetcher.answered([1])) == nil)
    #expect(fetcher.machine.nextDeadline == nil)
    #expect(fetcher.does(.ready(1, position(3), notBefore: nil))?.keys == [1])
  }

  @Test("A partition with an error is left out until its wait is over; it waits alone")
  func delay() {
    var fetcher = FetcherHarness()
    fetcher.open(2)
    let plan = fetcher.does(fetcher.answered([1]), .ready(1, position(0), notBefore: fetcher.now + .milliseconds(50)))
    #expect(plan?.forgotten == [1])
    #expect(fetcher.does(fetcher.answered([]))?.positions == [])
    fetcher.now = fetcher.now + .milliseconds(51)
    #expect(fetcher.does(.timerFired) == nil)
    #expect(fetcher.does(fetcher.answered([]))?.keys == [1])
  }

  @Test("While more than the quota is used, throttled partitions stay out; others do not")
  func throttling() {
    var fetcher = FetcherHarness()
    fetcher.open(2)
    fetcher.does(.throttled(1, true))
    #expect(fetcher.does(fetcher.answered([]))?.forgotten == [])
    fetcher.does(.quotaExceeded(true))
    #expect(fetcher.does(fetcher.answered([]))?.forgotten == [1])
    fetcher.does(.ready(1, position(7), notBefore: nil))
    #expect(fetcher.does(fetcher.answered([]))?.positions == [])
    fetcher.does(.quotaExceeded(false))
    #expect(fetcher.does(fetcher.answered([]))?.positions == [.init(key: 1, position: position(7))])
    fetcher.does(.quotaExceeded(true), .throttled(1, false))
    #expect(fetcher.does(fetcher.answered([]))?.forgotten == [])
  }

  @Test("A throttled partition that is removed leaves nothing behind")
  func throttledRemoval() {
    var fetcher = FetcherHarness()
    fetcher.open(2)
    fetcher.does(.throttled(1, true), .removed(1), .throttled(1, true))
    #expect(fetcher.does(fetcher.answered([]))?.forgotten == [1])
    // Found by simulation: the slot was gone and still on the list of the throttled.
    fetcher.does(.quotaExceeded(true), .quotaExceeded(false))
    #expect(fetcher.machine.count == 1)
  }

  @Test("A lost session is opened again with a full request", arguments: [ErrorCode.fetchSessionIdNotFound, .invalidFetchSessionEpoch])
  func lostSession(error: ErrorCode) {
    var fetcher = FetcherHarness()
    fetcher.open(3)
    let plan = fetcher.does(fetcher.answered([], session: 0, error: error))
    #expect(plan?.sessionID == 0 && plan?.sessionEpoch == 0)
    #expect(plan?.keys.sorted() == [1, 2, 3])
    // Twice in a row is a reason to wait.
    #expect(fetcher.does(fetcher.answered([], session: 0, error: error)) == nil)
    #expect(fetcher.machine.nextDeadline == fetcher.now + .milliseconds(100))
  }

  @Test("After a failed request it waits, then closes the session it may still have; answers to it come too late")
  func failure() {
    var fetcher = FetcherHarness()
    fetcher.open(2)
    let lost = fetcher.plan!
    #expect(fetcher.does(.failed(number: lost.number)) == nil)
    #expect(fetcher.does(.answered(number: lost.number, sessionID: 77, error: .none, keys: [1])) == nil)
    #expect(!fetcher.machine.awaits(lost.number))
    fetcher.now = fetcher.now + .milliseconds(50)
    let plan = fetcher.does(.timerFired)
    #expect(plan?.sessionID == 77 && plan?.sessionEpoch == 0)
    #expect(plan?.keys.sorted() == [1, 2])
  }

  @Test("Where the leader keeps no session every request is full, each beginning one further")
  func withoutSession() {
    var fetcher = FetcherHarness()
    fetcher.does((1...4).map { .ready($0, position(0), notBefore: nil) })
    var firsts: [Int] = []
    for _ in 0..<4 {
      firsts.append(fetcher.plan!.keys[0])
      #expect(fetcher.plan!.keys.sorted() == [1, 2, 3, 4])
      fetcher.does(fetcher.answered([], session: 0))
    }
    #expect(firsts.sorted() == [1, 2, 3, 4])
  }

  @Test("Of ten thousand partitions only those with news are in a request")
  func many() {
    var fetcher = FetcherHarness()
    fetcher.open(10_000)
    for round in 1...100 {
      let key = round * 37
      let plan = fetcher.does(fetcher.answered([key]), .ready(key, position(Int64(round)), notBefore: nil))
      #expect(plan?.positions == [.init(key: key, position: position(Int64(round)))])
    }
  }
}

@Suite("A fetcher whose requests may overtake one that waits at the leader")
struct OvertakingFetcherTests {
  /// Two partitions in a session, and an empty request in flight.
  private func harness() -> FetcherHarness {
    var fetcher = FetcherHarness()
    fetcher.machine = Machine(settings: .init(overtakes: true), now: fetcher.now)
    fetcher.open(2)
    return fetcher
  }

  @Test("A partition that becomes ready is asked for at once, and only one request goes ahead")
  func overtaking() {
    var fetcher = self.harness()
    let waiting = fetcher.plan!
    let next = fetcher.does(.ready(3, position(0), notBefore: nil))
    #expect(next?.keys == [3] && next?.sessionEpoch == waiting.sessionEpoch + 1)
    #expect(fetcher.machine.awaits(waiting.number) && fetcher.machine.awaits(next!.number))
    #expect(fetcher.does(.ready(4, position(0), notBefore: nil)) == nil)
    // The answer to the first lets the fourth go; the session's epochs go on without a gap.
    let third = fetcher.does(.answered(number: waiting.number, sessionID: 77, error: .none, keys: []))
    #expect(third?.keys == [4] && third?.sessionEpoch == next!.sessionEpoch + 1)
    #expect(!fetcher.machine.awaits(waiting.number))
  }

  @Test("Who leaves does not overtake, and neither does anything before there is a session")
  func notWorthIt() {
    var fetcher = self.harness()
    #expect(fetcher.does(.removed(1)) == nil)
    var new = FetcherHarness()
    new.machine = Machine(settings: .init(overtakes: true), now: new.now)
    #expect(new.does(.ready(1, position(0), notBefore: nil)) != nil)
    #expect(new.does(.ready(2, position(0), notBefore: nil)) == nil)
  }

  @Test("A session that is lost takes both requests with it")
  func lost() {
    var fetcher = self.harness()
    let waiting = fetcher.plan!
    let next = fetcher.does(.ready(3, position(0), notBefore: nil))!
    let full = fetcher.does(.answered(number: waiting.number, sessionID: 0, error: .fetchSessionIdNotFound, keys: []))
    #expect(full?.sessionEpoch == 0 && full?.keys.sorted() == [1, 2, 3])
    #expect(!fetcher.machine.awaits(next.number))
    #expect(fetcher.does(.answered(number: next.number, sessionID: 0, error: .fetchSessionIdNotFound, keys: [])) == nil)
    #expect(fetcher.machine.awaits(full!.number))
  }
}

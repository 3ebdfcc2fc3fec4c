import Base
import Broker
import Model
import Testing

@Suite("Fetch sessions")
struct FetchSessionTests {
  private let now = Instant(nanoseconds: 1_000_000_000)

  private func interest(_ topic: String, _ partition: Int32 = 0, at offset: Int64 = 0) -> FetchInterest {
    FetchInterest(topic: .name(topic), partition: PartitionID(partition), fetchOffset: Offset(offset), maxByteCount: 1_000)
  }
  private func outcome(_ highWatermark: Int64, start: Int64 = 0, records: Bool = false, error: Bool = false) -> FetchOutcome {
    FetchOutcome(
      highWatermark: Offset(highWatermark), logStartOffset: Offset(start), hasRecords: records, isError: error, isDiverging: false)
  }
  private func session(_ cache: inout FetchSessionCache, _ interests: [FetchInterest]) -> Int32 {
    guard
      case .full(let planned) = cache.plan(
        sessionID: 0, epoch: 0, interests: interests, forgotten: [], usesTopicIDs: false, now: self.now)
    else {
      Issue.record("a request with epoch 0 is full")
      return 0
    }
    return cache.create(planned.map { ($0, self.outcome(0)) }, usesTopicIDs: false, now: self.now)
  }

  @Test("A life: full, incremental with changes, forgotten topics, closed by forgetting all")
  func life() throws {
    var cache = FetchSessionCache(sessionsMax: 10, seed: 1)
    let id = self.session(&cache, [self.interest("a"), self.interest("b"), self.interest("c")])
    #expect(id != 0)
    guard
      case .incremental(id, 2, let second) = cache.plan(
        sessionID: id, epoch: 1, interests: [self.interest("b", at: 7)], forgotten: [], usesTopicIDs: false, now: self.now)
    else { throw Unexpected() }
    #expect(second.map(\.topic) == [.name("a"), .name("b"), .name("c")])
    #expect(second[1].fetchOffset == Offset(7))
    let news = cache.news(
      sessionID: id, epoch: 2,
      [
        (second[0].slot, self.outcome(9, records: true)), (second[1].slot, self.outcome(0)),
        (second[2].slot, self.outcome(0, error: true)),
      ])
    #expect(news == [true, false, true])

    guard
      case .incremental(id, 3, let third) = cache.plan(
        sessionID: id, epoch: 2, interests: [self.interest("d")], forgotten: [self.interest("b").key], usesTopicIDs: false, now: self.now)
    else { throw Unexpected() }
    #expect(third.map(\.topic) == [.name("c"), .name("a"), .name("d")], "what had records goes last")
    let again = cache.news(
      sessionID: id, epoch: 3, third.map { ($0.slot, self.outcome($0.topic == .name("a") ? 9 : 0)) })
    #expect(again == [true, false, true], "after an error the partition is told again; a new one is told once")

    let all = third.map(\.key)
    guard
      case .sessionless(let none) = cache.plan(sessionID: id, epoch: 3, interests: [], forgotten: all, usesTopicIDs: false, now: self.now)
    else {
      throw Unexpected()
    }
    #expect(none.isEmpty)
    #expect(cache.count == 0)
  }

  @Test("Requests out of step are refused: unknown id, wrong epoch, names where ids were used")
  func refusals() throws {
    var cache = FetchSessionCache(sessionsMax: 10, seed: 1)
    let id = self.session(&cache, [self.interest("a")])
    func code(_ plan: FetchPlan) -> ErrorCode? { if case .refuse(let code) = plan { code } else { nil } }
    #expect(
      code(cache.plan(sessionID: id &+ 1, epoch: 1, interests: [], forgotten: [], usesTopicIDs: false, now: self.now))
        == .fetchSessionIdNotFound)
    #expect(
      code(cache.plan(sessionID: id, epoch: 2, interests: [], forgotten: [], usesTopicIDs: false, now: self.now))
        == .invalidFetchSessionEpoch)
    #expect(
      code(cache.plan(sessionID: id, epoch: 1, interests: [], forgotten: [], usesTopicIDs: true, now: self.now))
        == .fetchSessionTopicIdError)
    #expect(code(cache.plan(sessionID: id, epoch: 1, interests: [], forgotten: [], usesTopicIDs: false, now: self.now)) == nil)
    #expect(cache.news(sessionID: id, epoch: 1, []) == nil, "the session has moved to epoch 2")
  }

  @Test("A full request ends the session it names; the final epoch makes no new one")
  func fullEndsSession() {
    var cache = FetchSessionCache(sessionsMax: 10, seed: 1)
    let id = self.session(&cache, [self.interest("a")])
    guard
      case .sessionless(let interests) = cache.plan(
        sessionID: id, epoch: -1, interests: [self.interest("a")], forgotten: [], usesTopicIDs: false, now: self.now)
    else {
      Issue.record("epoch -1 is sessionless")
      return
    }
    #expect(interests.count == 1)
    #expect(cache.count == 0)
  }

  @Test("Epochs wrap to 1")
  func epochs() {
    #expect(FetchSession.epoch(after: 0) == 1)
    #expect(FetchSession.epoch(after: .max) == 1)
    #expect(FetchSession.epoch(after: -1) == -1)
  }

  @Test("A full cache keeps young sessions, evicts stale ones, and prefers the bigger among old ones")
  func eviction() {
    var cache = FetchSessionCache(sessionsMax: 2, shard: 3, shardCount: 8, seed: 7)
    let first = self.session(&cache, [self.interest("a"), self.interest("b")])
    let second = self.session(&cache, [self.interest("a")])
    #expect(first % 8 == 3 && second % 8 == 3)
    let three = (0..<3).map { (self.interest("t", $0), self.outcome(0)) }
    #expect(cache.create(three, usesTopicIDs: false, now: self.now) == 0, "both are protected")

    let later = self.now + .seconds(121)
    // Both were used just now, so that neither is stale.
    for id in [first, second] { _ = cache.plan(sessionID: id, epoch: 1, interests: [], forgotten: [], usesTopicIDs: false, now: later) }
    #expect(cache.create([three[0]], usesTopicIDs: false, now: later) == 0, "no bigger than the smallest")
    #expect(cache.create(three, usesTopicIDs: false, now: later) != 0)
    #expect(cache.plan(sessionID: second, epoch: 2, interests: [], forgotten: [], usesTopicIDs: false, now: later).isRefused)
    #expect(!cache.plan(sessionID: first, epoch: 2, interests: [], forgotten: [], usesTopicIDs: false, now: later).isRefused)
    #expect(cache.create([three[0]], usesTopicIDs: false, now: later + .seconds(121)) != 0, "stale sessions go first")
    #expect(cache.count == 2)
  }

  @Test("Following and forgetting over and over reuses places")
  func reuse() {
    var session = FetchSession(id: 1, usesTopicIDs: false)
    for round in Int32(0)..<1_000 {
      session.follow(self.interest("t", round))
      if round >= 3 { session.forget(self.interest("t", round - 3).key) }
    }
    #expect(session.interests().map(\.partition) == [PartitionID(997), PartitionID(998), PartitionID(999)])
    #expect(session.interests().allSatisfy { $0.slot < 4 })
  }
}

private struct Unexpected: Error {}

extension FetchPlan {
  fileprivate var isRefused: Bool { if case .refuse = self { true } else { false } }
}

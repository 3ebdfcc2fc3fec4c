import Base
import Model
import Synchronization

/// The fetch sessions of all clients, in a few caches of their own locks, so that loops rarely meet.
final class FetchSessions: Sendable {
  private static let shardCount: Int32 = 8

  private final class Shard: Sendable {
    let cache: Mutex<FetchSessionCache>
    init(_ cache: FetchSessionCache) { self.cache = Mutex(cache) }
  }
  private let shards: [Shard]
  private let nextShard = Atomic<UInt32>(0)

  init(sessionsMax: Int, seed: UInt64) {
    let count = Self.shardCount
    self.shards = (0..<count).map { shard in
      // Slots that do not divide evenly go to the first shards, so that no configured slot is lost.
      let slots = sessionsMax / Int(count) + (Int(shard) < sessionsMax % Int(count) ? 1 : 0)
      return Shard(FetchSessionCache(sessionsMax: slots, shard: shard, shardCount: count, seed: seed &+ UInt64(shard)))
    }
  }

  var count: Int { self.shards.reduce(0) { sum, shard in sum + shard.cache.withLock { $0.count } } }

  func plan(
    sessionID: Int32, epoch: Int32, interests: [FetchInterest], forgotten: [FetchPartitionKey], usesTopicIDs: Bool, now: Instant
  ) -> FetchPlan {
    self.shard(of: sessionID).cache.withLock {
      $0.plan(sessionID: sessionID, epoch: epoch, interests: interests, forgotten: forgotten, usesTopicIDs: usesTopicIDs, now: now)
    }
  }

  func create(_ answered: [(FetchInterest, FetchOutcome)], usesTopicIDs: Bool, now: Instant) -> Int32 {
    let turn = self.nextShard.wrappingAdd(1, ordering: .relaxed).oldValue
    return self.shards[Int(turn % UInt32(self.shards.count))].cache.withLock { $0.create(answered, usesTopicIDs: usesTopicIDs, now: now) }
  }

  func news(sessionID: Int32, epoch: Int32, _ outcomes: [(slot: Int, FetchOutcome)]) -> [Bool]? {
    self.shard(of: sessionID).cache.withLock { $0.news(sessionID: sessionID, epoch: epoch, outcomes) }
  }

  private func shard(of sessionID: Int32) -> Shard { self.shards[Int(sessionID.magnitude % UInt32(self.shards.count))] }
}

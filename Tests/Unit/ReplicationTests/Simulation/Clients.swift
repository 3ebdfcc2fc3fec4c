import Base
import Model
import Replication

/// Sends numbered records one after another, to whom it believes to lead. What was refused or not answered is not sent again.
final class Producer {
  private unowned let world: World
  private let partition: Int
  private let id: UInt64
  private let needsAll: Bool
  private var target: Int
  private var sent: UInt64 = 0
  private var isSilent = false
  private(set) var acknowledged = 0

  init(world: World, partition: Int, id: UInt64, needsAll: Bool) {
    self.world = world
    self.partition = partition
    self.id = id
    self.needsAll = needsAll
    self.target = Int.random(in: 0..<world.nodes.count, using: &world.random)
  }

  func run() {
    // Now and then a silence, so that first writes after one happen.
    if !self.world.isCalm, self.world.chance(self.world.profile.silencePercent) { self.isSilent = true }
    if self.isSilent {
      self.isSilent = false
      return self.world.schedule(after: self.world.pick(100_000_000...900_000_000)) { [self] in self.run() }
    }
    let count = UInt64(self.world.pick(1...4))
    let values = (0..<count).map { self.id << 32 | (self.sent + $0) }
    self.sent += count
    var isOver = false
    func end(_ error: ErrorCode, _ hint: LeaderHint?) {
      if isOver { return }
      isOver = true
      if error == .none { self.acknowledged += 1 }
      if let hint, hint.node != .none {
        self.target = Int(hint.node.rawValue)
      } else if error != .none {
        self.target = Int.random(in: 0..<self.world.nodes.count, using: &self.world.random)
      }
      let pause = self.world.profile.produceInterval
      self.world.schedule(after: error == .none ? self.world.pick(0...2 * pause) : 5_000_000) { [self] in
        if !self.isEnded { self.run() }
      }
    }
    let node = self.world.nodes[self.target]
    self.world.schedule(after: 200_000) { [self] in
      node.whenRunning { [self] in
        node.produce(self.partition, values, needsAll: self.needsAll) { [self] error, _, hint in
          self.world.schedule(after: 200_000) { end(error, hint) }
        }
      }
    }
    self.world.schedule(after: 400_000_000) { end(.requestTimedOut, nil) }
  }

  private(set) var isEnded = false
  func end() { self.isEnded = true }
}

/// Reads a partition from its beginning, from the leader and sometimes from a follower, and asks for the log's latest offset.
final class Consumer {
  private unowned let world: World
  private let partition: Int
  private var position: Int64 = 0
  /// The latest offset that any consumer of the partition was told.
  private var latest: Int64 = 0

  init(world: World, partition: Int) {
    self.world = world
    self.partition = partition
  }

  func run() {
    let node = self.world.nodes[Int.random(in: 0..<self.world.nodes.count, using: &self.world.random)]
    node.whenRunning { [self] in self.look(at: node) }
    self.world.schedule(after: self.world.pick(1_000_000...10_000_000)) { [self] in self.run() }
  }

  private func look(at node: Node) {
    guard let replica = node.replicas[self.partition] else { return }
    if let leader = replica.leader {
      if leader.resignation == nil { self.read(replica, isLeader: true) }
      guard leader.refusalOfLatest(now: node.now(), lease: node.lease) == nil else { return }
      // An older leader that was asked to step aside and has not heard of it may be behind: only a lease's end is waited for.
      if self.world.has(.move) { return }
      if replica.highWatermark < self.latest {
        self.world.checker.fail("p\(self.partition): \(node.id) says \(replica.highWatermark) is the latest, \(self.latest) was")
      }
      self.latest = max(self.latest, replica.highWatermark)
    } else if let follower = replica.follower,
      follower.refusal(ofConsumerAt: Offset(self.position), currentLeaderEpoch: .unknown) == nil {
      self.read(replica, isLeader: false)
    }
  }

  private func read(_ replica: Replica, isLeader: Bool) {
    let registration = self.world.controller.partitions[self.partition]
    if isLeader, self.position > replica.log.end, replica.leader!.epoch == registration.leaderEpoch {
      return self.world.checker.fail("p\(self.partition): a consumer at \(self.position) is beyond the leader's end \(replica.log.end)")
    }
    self.position = max(self.position, replica.log.startOffset)
    guard self.position < replica.highWatermark else { return }
    let values = replica.log.slice(from: self.position, countMax: Int(min(30, replica.highWatermark - self.position))).map(\.value)
    self.world.checker.read(self.partition, at: self.position, values)
    self.position += Int64(values.count)
  }
}

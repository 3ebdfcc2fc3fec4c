import Base
import Model
import Replication

/// Looks at the cluster from outside and holds it to what it promised. It knows every record that any leader called committed.
final class Checker {
  private unowned let world: World
  private(set) var violation: String?
  /// Per partition: what is committed, by offset, for good.
  private(set) var committed: [[UInt64]]
  private(set) var acknowledgedCount = 0
  private(set) var readCount = 0
  /// Per partition: acknowledged values in the order of their acknowledgement.
  private var acknowledged: [[UInt64]]
  /// The newest epoch whose leader was chosen because the older one was certainly no leader any more.
  private var exclusiveEpoch: [LeaderEpoch]
  private var leaderOfEpoch: [[Int32: Int]]
  private(set) var truncations = 0, restarts = 0, elections = 0, shrinks = 0

  init(world: World) {
    self.world = world
    let count = world.profile.partitionCount
    self.committed = Array(repeating: [], count: count)
    self.acknowledged = Array(repeating: [], count: count)
    self.exclusiveEpoch = Array(repeating: .unknown, count: count)
    self.leaderOfEpoch = Array(repeating: [:], count: count)
  }

  func fail(_ text: String) {
    if self.violation != nil { return }
    self.violation = "at \(self.world.time / 1000)us: \(text)"
    self.world.log("VIOLATION \(text)")
  }

  // MARK: - What leaders say

  func elected(_ partition: Int, _ registration: PartitionRegistration, isVoluntary: Bool) {
    self.elections += 1
    if !isVoluntary { self.exclusiveEpoch[partition] = registration.leaderEpoch }
  }

  /// A leader of `epoch` acknowledges something: none may whose successor was chosen for its lease had ended.
  func acknowledged(_ partition: Int, _ epoch: LeaderEpoch) {
    if epoch < self.exclusiveEpoch[partition] {
      self.fail(
        "p\(partition): a leader of epoch \(epoch) acknowledges after \(self.exclusiveEpoch[partition]) was chosen at its lease's end")
    }
  }

  func acknowledgedAll(_ partition: Int, base: Int64, _ values: [UInt64]) {
    self.acknowledgedCount += 1
    for (index, value) in values.enumerated() {
      let offset = Int(base) + index
      guard offset < self.committed[partition].count, self.committed[partition][offset] == value else {
        return self.fail("p\(partition): \(value) at \(offset) was acknowledged with acks=all and is not committed")
      }
      self.acknowledged[partition].append(value)
    }
  }

  func committed(_ partition: Int, _ node: Int, _ log: SimulatedLog, upTo end: Int64) {
    let epoch = self.world.nodes[node].replicas[partition]!.leader!.epoch
    self.acknowledged(partition, epoch)
    if let other = self.leaderOfEpoch[partition].updateValue(node, forKey: epoch.rawValue), other != node {
      self.fail("p\(partition): \(other) and \(node) both led in epoch \(epoch)")
    }
    var offset = max(log.startOffset, Int64(self.committed[partition].count) - 20)
    while offset < end {
      guard let record = log[offset] else { return self.fail("p\(partition): \(node) commits \(end) and has no \(offset)") }
      let place = Int(offset)
      if place < self.committed[partition].count {
        if self.committed[partition][place] != record.value {
          return self.fail("p\(partition): \(node) commits \(record.value) at \(offset), where \(self.committed[partition][place]) was")
        }
      } else if place == self.committed[partition].count {
        self.committed[partition].append(record.value)
      } else {
        return self.fail("p\(partition): \(node) commits \(offset) before what precedes it")
      }
      offset += 1
    }
    self.checkReplicas(of: partition)
  }

  func observe(_ event: ReplicationEvent, _ partition: Int, _ node: Int) {
    switch event {
    case .truncated: self.truncations += 1
    case .restarted: self.restarts += 1
    case .refusedTruncation: self.fail("p\(partition): \(node) would cut what is committed: \(event)")
    default: break
    }
  }

  // MARK: - What consumers see

  func read(_ partition: Int, at offset: Int64, _ values: [UInt64]) {
    self.readCount += values.count
    for (index, value) in values.enumerated() {
      let place = Int(offset) + index
      guard place < self.committed[partition].count, self.committed[partition][place] == value else {
        return self.fail("p\(partition): a consumer reads \(value) at \(place), which was not committed")
      }
    }
  }

  // MARK: - Replicas

  /// Whoever the controller may make a leader next holds durably everything that is committed.
  func checkReplicas(of partition: Int) {
    let end = Int64(self.committed[partition].count)
    let registration = self.world.controller.partitions[partition]
    for member in registration.inSyncReplicas + self.world.controller.eligible[partition] {
      let log = self.world.nodes[Int(member.rawValue)].replicas[partition]!.log
      let held = self.world.profile.durability == .flushed ? log.flushedEnd : log.end
      if held < end { return self.fail("p\(partition): \(member) may be chosen and holds \(held) of \(end) committed") }
      if end > log.startOffset, log[end - 1]?.value != self.committed[partition][Int(end - 1)] {
        return self.fail("p\(partition): \(member) may be chosen and holds another record at \(end - 1)")
      }
    }
  }

  /// When everything is well again: one leader, all in sync, all logs equal and committed to their end.
  func checkConverged() {
    for partition in self.world.controller.partitions.indices {
      let registration = self.world.controller.partitions[partition]
      guard registration.leader != .none, Set(registration.inSyncReplicas) == Set(registration.assignedReplicas) else {
        return self.fail("p\(partition) did not converge: \(registration)")
      }
      let leader = self.world.nodes[Int(registration.leader.rawValue)].replicas[partition]!
      guard leader.leader?.resignation == nil, let epoch = leader.leader?.epoch, epoch == registration.leaderEpoch else {
        return self.fail("p\(partition): \(registration.leader) does not lead as it should")
      }
      for node in registration.assignedReplicas {
        let replica = self.world.nodes[Int(node.rawValue)].replicas[partition]!
        if replica.log.end != leader.log.end {
          return self.fail("p\(partition): \(node) ends at \(replica.log.end), not \(leader.log.end)")
        }
        if replica.highWatermark != replica.log.end {
          return self.fail("p\(partition): \(node) has watermark \(replica.highWatermark), not \(replica.log.end)")
        }
        for offset in replica.log.startOffset..<replica.log.end where self.committed[partition][Int(offset)] != replica.log[offset]!.value
        {
          return self.fail("p\(partition): \(node) holds another record at \(offset)")
        }
      }
      self.checkOrder(partition)
    }
  }

  /// A producer sends one after another, so its acknowledged records lie in the order of their numbers.
  private func checkOrder(_ partition: Int) {
    var places: [UInt64: Int] = [:]
    for (offset, value) in self.committed[partition].enumerated() {
      if places.updateValue(offset, forKey: value) != nil { return self.fail("p\(partition): \(value) is there twice") }
    }
    var last: [UInt64: Int] = [:]
    for value in self.acknowledged[partition].sorted() {
      guard let place = places[value] else { return self.fail("p\(partition): \(value) was acknowledged and is gone") }
      let producer = value >> 32
      if let before = last[producer], before >= place { return self.fail("p\(partition): \(value) lies before its predecessor") }
      last[producer] = place
    }
  }
}

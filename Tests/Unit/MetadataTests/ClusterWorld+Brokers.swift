import Base
import Model
import Replication

@testable import Metadata

/// What the brokers of the world do.
extension ClusterWorld {
  // MARK: Life

  mutating func start(_ id: NodeID) {
    guard !self.brokers[id]!.isUp else { return }
    self.brokers[id]!.isUp = true
    self.brokers[id]!.incarnation += 1
    self.brokers[id]!.epoch = nil
    self.brokers[id]!.wantsShutdown = false
    self.brokers[id]!.lease = .none
    self.brokers[id]!.leading = [:]
    self.count("start")
  }

  /// The process dies, and with it what its disk had not kept of the logs' ends.
  mutating func crash(_ id: NodeID) {
    guard self.brokers[id]!.isUp else { return }
    self.brokers[id]!.isUp = false
    self.brokers[id]!.cleanEpoch = .unknown
    self.count("crash")
    for partition in self.brokers[id]!.replicas.keys.sorted() where self.chance(40) {
      let length = self.brokers[id]!.replicas[partition]!.log.count
      let kept = max(0, length - Int.random(in: 0...3, using: &self.generator))
      self.brokers[id]!.replicas[partition]!.log.removeLast(length - kept)
      self.brokers[id]!.replicas[partition]!.epochs.removeLast(length - kept)
    }
    if self.chance(70) { self.tell(.connectionLost(id)) }
  }

  mutating func register(_ id: NodeID) {
    let broker = self.brokers[id]!
    guard broker.isUp, broker.epoch == nil else { return }
    let previous = self.image.broker(id)
    let isClean = previous != nil && broker.cleanEpoch == previous!.epoch
    let outcome = self.run(
      MachineHarness.registration(
        id.rawValue, incarnation: broker.incarnation, rack: ["x", "y"][Int(id.rawValue) % 2], previousEpoch: broker.cleanEpoch))
    switch outcome {
    case .success(let epoch):
      self.brokers[id]!.epoch = epoch
      self.brokers[id]!.cleanEpoch = .unknown
      self.registrationOffsets[id] = self.image.offset
      self.count(isClean ? "clean registration" : "unclean registration")
      if !isClean, self.partitions.contains(where: { $0.image.eligibleLeaderReplicas.contains(id) }) {
        self.fail("\(id) came back without proof and is in an ELR")
      }
    case .failure(let error):
      self.count("registration refused: \(error.code)")
      if error.code == .duplicateBrokerRegistration { self.tell(.duplicateRegistered(id)) }
    }
  }

  /// Another process under the same id.
  mutating func impersonate(_ id: NodeID) {
    guard let registered = self.image.broker(id) else { return }
    let broker = self.brokers[id]!
    guard broker.isUp, broker.epoch == registered.epoch, broker.lease.isLive(at: self.now) else { return }
    let outcome = self.run(MachineHarness.registration(id.rawValue, incarnation: 1_000_000 + self.brokers[id]!.incarnation))
    if case .success = outcome { self.fail("a second \(id) was registered while the first held its lease") }
    self.count("impostor")
  }

  mutating func heartbeat(_ id: NodeID, fence: Bool = false) {
    let broker = self.brokers[id]!
    guard broker.isUp, let epoch = broker.epoch else { return }
    // It was sent a little earlier.
    let sentAt = self.now + .milliseconds(-Int64.random(in: 0...500, using: &self.generator))
    let request = BrokerHeartbeat(
      nodeID: id, epoch: epoch, metadataOffset: broker.view.offset, wantsFence: fence, wantsShutdown: broker.wantsShutdown)
    let before = self.harness.machine
    var effects: [BrokerSessions.Effect] = []
    self.harness.machine.heard(request, now: self.now, into: &effects)
    self.carryOut(effects)
    switch self.run(request) {
    case .failure(let error) where error.code == .notController: self.count("heartbeat without an answer")
    case .failure:
      // It was forgotten, or replaced: it registers anew.
      self.brokers[id]!.lease.revoke()
      self.brokers[id]!.isUp = false
      self.brokers[id]!.cleanEpoch = .unknown
    case .success(let answer):
      if before.image.broker(id)!.isFenced && !answer.isFenced {
        self.count("unfenced")
        if broker.view.offset < self.registrationOffsets[id] ?? Offset(-1) { self.fail("\(id) is unfenced and does not know of itself") }
        for (partition, known) in self.partitions where self.leads(id, partition) != nil && known.leader != id {
          self.fail("\(id) has its lease back and does not know that \(known.leader) leads \(partition)")
        }
      }
      if answer.shouldShutDown {
        let isTooEarly = !before.image.broker(id)!.isFenced && !fence && before.index.ledCount(id) > 0
        if isTooEarly || self.harness.machine.index.ledCount(id) > 0 {
          self.fail("\(id) may go and leads \(before.index.ledCount(id)) partitions")
        }
        self.count("orderly stop")
        self.brokers[id]!.isUp = false
        self.brokers[id]!.cleanEpoch = epoch
        self.brokers[id]!.lease.revoke()
        if self.chance(50) { self.tell(.connectionLost(id)) }
      } else if self.chance(90) {
        if answer.isFenced {
          self.brokers[id]!.lease.revoke()
        } else {
          self.brokers[id]!.lease.grant(sentAt: sentAt, answeredAt: self.now, under: Self.rule)
        }
      }
    }
  }

  /// The broker reads the metadata to its end.
  mutating func readMetadata(_ id: NodeID) {
    guard self.brokers[id]!.isUp else { return }
    let old = self.brokers[id]!.view
    self.brokers[id]!.view = self.image
    for partition in self.brokers[id]!.replicas.keys.sorted() where self.image.partition(partition)?.isReplica(id) != true {
      self.brokers[id]!.replicas[partition] = nil
    }
    for partition in self.brokers[id]!.leading.keys.sorted() where self.leads(id, partition) == nil {
      self.brokers[id]!.leading[partition] = nil
    }
    for (partition, image) in self.partitions where image.leader == id {
      if self.brokers[id]!.leading[partition]?.epoch != image.leaderEpoch {
        self.brokers[id]!.leading[partition] = Leading(epoch: image.leaderEpoch)
      } else if old.partition(partition)?.partitionEpoch != image.partitionEpoch {
        // Whatever was asked for at an earlier partition epoch is granted by now, or will be refused.
        self.brokers[id]!.leading[partition]!.proposed = []
      }
    }
  }

  /// The partition as the broker knows it, if it takes itself for the leader. It must have read its own registration: what it led in an
  /// earlier incarnation it leads no more, whatever its metadata says.
  func leads(_ id: NodeID, _ partition: TopicIDPartition) -> PartitionImage? {
    let broker = self.brokers[id]!
    guard broker.isUp, let known = broker.view.partition(partition), known.leader == id, let epoch = broker.epoch,
      broker.view.broker(id)?.epoch == epoch
    else { return nil }
    return known
  }

  // MARK: Data

  func minInSync(_ partition: TopicIDPartition, _ view: MetadataImage) -> Int {
    guard let topic = view.topic(partition.topicID) else { return 1 }
    let name = "min.insync.replicas"
    let value = view.configs(of: .topic(topic.name))[name] ?? view.configs(of: .defaultBroker)[name] ?? "1"
    return min(Int(value)!, topic[partition.partition]!.assignedReplicas.count)
  }

  /// A leader appends, its followers copy, and what all in sync have is committed.
  mutating func replicate(_ partition: TopicIDPartition, followers: Int = 70) {
    for id in Self.ids {
      guard let known = self.leads(id, partition), self.brokers[id]!.leading[partition]?.epoch == known.leaderEpoch else { continue }
      if self.usesLeases && !self.brokers[id]!.lease.isLive(at: self.now) { continue }
      if self.chance(60) {
        self.nextRecord += 1
        self.brokers[id]!.replicas[partition, default: Replica()].log.append(self.nextRecord)
        self.brokers[id]!.replicas[partition]!.epochs.append(known.leaderEpoch.rawValue)
      }
      for follower in known.assignedReplicas where follower != id && self.chance(followers) {
        self.fetch(follower, from: id, partition, known)
      }
      self.advanceHighWatermark(id, partition, known)
    }
  }

  private mutating func fetch(_ follower: NodeID, from leader: NodeID, _ partition: TopicIDPartition, _ known: PartitionImage) {
    let broker = self.brokers[follower]!
    guard broker.isUp, let epoch = broker.epoch, let view = broker.view.partition(partition),
      view.leader == leader, view.leaderEpoch == known.leaderEpoch
    else { return }
    // It cuts off what the leader does not have and copies the rest.
    let replica = self.brokers[leader]!.replicas[partition] ?? Replica()
    self.brokers[follower]!.replicas[partition] = replica
    self.brokers[leader]!.leading[partition]!.fetched[follower] = (replica.log.count, epoch)
  }

  private mutating func advanceHighWatermark(_ id: NodeID, _ partition: TopicIDPartition, _ known: PartitionImage) {
    let broker = self.brokers[id]!, leading = broker.leading[partition]!
    guard known.inSyncReplicas.count >= self.minInSync(partition, broker.view) else { return }
    let members = Set(known.inSyncReplicas).union(leading.proposed)
    let log = broker.replicas[partition]?.log ?? []
    let end = members.map { $0 == id ? log.count : leading.fetched[$0]?.end ?? 0 }.min()!
    guard end > leading.highWatermark else { return }
    self.brokers[id]!.leading[partition]!.highWatermark = end
    let old = self.committed[partition] ?? []
    let new = Array(log[..<end])
    if old.count <= new.count {
      if !new.starts(with: old) { self.fail("\(partition): \(old) was committed, and now \(new)") }
      self.committed[partition] = new
    } else if !old.starts(with: new) {
      self.fail("\(partition): \(old) was committed, and a leader now commits \(new)")
    }
  }

  /// A leader asks for another ISR, which may take its time.
  mutating func proposeInSync(_ partition: TopicIDPartition, hasty: Bool = false) {
    for id in Self.ids {
      guard let known = self.leads(id, partition), let leading = self.brokers[id]!.leading[partition], leading.epoch == known.leaderEpoch,
        leading.proposed.isEmpty, let epoch = self.brokers[id]!.epoch
      else { continue }
      let end = self.brokers[id]!.replicas[partition]?.log.count ?? 0
      var members: [AlterPartition.Member] = [.init(id, epoch)]
      for follower in known.assignedReplicas where follower != id {
        let fetched = leading.fetched[follower]
        if known.inSyncReplicas.contains(follower) {
          // A follower that lags is dropped, now and then also one that does not.
          let isFine = fetched.map { $0.end >= end - 2 } ?? hasty
          if isFine && !self.chance(hasty ? 0 : 10) {
            members.append(.init(follower, fetched?.broker ?? self.brokers[id]!.view.broker(follower)?.epoch ?? .unknown))
          }
        } else if let fetched, fetched.end >= max(end - 1, leading.highWatermark), known.leaderRecoveryState == .recovered {
          members.append(.init(follower, fetched.broker))
        }
      }
      if Set(members.map(\.nodeID)) == Set(known.inSyncReplicas) && known.leaderRecoveryState == .recovered { continue }
      self.brokers[id]!.leading[partition]!.proposed = members.map(\.nodeID)
      self.mail.append(
        AlterPartition(
          nodeID: id, epoch: epoch,
          [.init(partition, leaderEpoch: known.leaderEpoch, partitionEpoch: known.partitionEpoch, inSyncReplicas: members)]))
    }
  }

  mutating func deliver() {
    guard !self.mail.isEmpty else { return }
    let request = self.mail.remove(at: Int.random(in: 0..<self.mail.count, using: &self.generator))
    let wanted = request.partitions[0]
    let before = self.harness.machine
    guard case .success(let results) = self.run(request) else { return }
    guard case .success(let answer) = results[0].outcome, answer != before.image.partition(wanted.id) else {
      if case .failure(let error) = results[0].outcome {
        self.count("AlterPartition \(error.code)")
        // Nothing was granted. After any other error the leader cannot know, and keeps what it asked for in mind.
        if error.code == .ineligibleReplica { self.brokers[request.nodeID]!.leading[wanted.id]?.proposed = [] }
      } else {
        self.brokers[request.nodeID]!.leading[wanted.id]?.proposed = []
      }
      return
    }
    self.count("AlterPartition")
    let old = before.image.partition(wanted.id)!
    if wanted.partitionEpoch != old.partitionEpoch || wanted.leaderEpoch != old.leaderEpoch {
      self.fail("a stale AlterPartition was taken: \(wanted) on \(old)")
    }
    for member in wanted.inSyncReplicas {
      if !before.image.isActive(member.nodeID) { self.fail("\(member.nodeID) joins an ISR and is not active") }
      if member.epoch != before.image.broker(member.nodeID)?.epoch && member.epoch != .unknown {
        self.fail("\(member.nodeID) joins an ISR as an incarnation that is gone")
      }
    }
    // The answer is as good as the metadata.
    if answer.leader == request.nodeID, self.brokers[request.nodeID]!.isUp { self.readMetadata(request.nodeID) }
  }
}

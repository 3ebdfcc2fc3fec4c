import Base
import Model
import Replication

/// One partition's replica on one node: its log and the machine of its role.
final class Replica {
  let partition: Int
  var log = SimulatedLog()
  var leader: LeaderMachine<Int>?
  var follower: FollowerMachine<Int>?
  /// Kept up with the machine of the role, which takes it from here when it begins.
  var highWatermark: Int64 = 0
  /// What of it a crash leaves.
  var checkpoint: Int64 = 0
  /// What came with the answer that is being handled.
  var incoming: [SimulatedLog.Record] = []
  var flushAgain = false
  /// When the leader's timer is set, by the world's clock.
  var armed: Int64?

  init(partition: Int) { self.partition = partition }

  var positions: LogPositions {
    LogPositions(
      logStartOffset: Offset(self.log.startOffset), logEndOffset: Offset(self.log.end), flushedOffset: Offset(self.log.flushedEnd),
      highWatermark: Offset(self.highWatermark))
  }
}

/// A broker: the driver of the cores that the engine will be, at its smallest.
final class Node {
  enum Waiter {
    case produce((ErrorCode) -> Void)
    case fetch(FetchRequest)
  }

  let id: Int
  unowned let world: World
  private(set) var isUp = true
  private(set) var incarnation = 1
  private var pausedUntil: Int64 = 0
  /// Parts per million that this clock gains.
  private let drift: Int64
  private let clockOffset: Int64

  private(set) var brokerEpoch: BrokerEpoch?
  private(set) var lease = BrokerLease.none
  var metadataOffset = 0
  var standings: [BrokerStanding] = []
  var replicas: [Replica?]
  var waiters: [Int: Waiter] = [:]
  var lastToken = 0
  var awaitingLease: [Int] = []
  var alter = AlterPartitionMachine<Int>(brokerEpoch: .unknown)
  var alterArmed: Int64?
  // Of one incarnation, in the order they were made.
  var fetchers: [Fetcher] = []
  var sessions: [FetchSession] = []
  var lastSessionID: Int32 = 0
  var flushSlowness: Int64 = 1

  init(id: Int, world: World) {
    self.id = id
    self.world = world
    self.drift = world.has(.drift) ? world.pick(-Int64(Profile.driftMax)...Int64(Profile.driftMax)) : 0
    self.clockOffset = world.pick(0...1_000_000_000_000)
    self.replicas = world.controller.partitions.enumerated().map { index, registration in
      registration.assignedReplicas.contains(NodeID(Int32(id))) ? Replica(partition: index) : nil
    }
    self.start()
  }

  var nodeID: NodeID { NodeID(Int32(self.id)) }

  // MARK: - Time

  func now() -> Instant { Instant(nanoseconds: self.clockOffset + self.world.time + self.world.time * self.drift / 1_000_000) }

  /// The first instant of the world at which this clock shows `instant`.
  private func worldTime(of instant: Instant) -> Int64 {
    let local = instant.nanoseconds - self.clockOffset
    return local * 1_000_000 / (1_000_000 + self.drift) + 1
  }

  /// Runs `body` when this process runs: later if it is paused, never if it was killed meanwhile.
  func whenRunning(_ body: @escaping () -> Void) {
    guard self.isUp else { return }
    if self.world.time >= self.pausedUntil { return body() }
    let incarnation = self.incarnation
    self.world.schedule(at: self.pausedUntil) { [self] in
      if self.incarnation == incarnation { self.whenRunning(body) }
    }
  }

  func at(_ instant: Instant, _ body: @escaping () -> Void) {
    let incarnation = self.incarnation
    self.world.schedule(at: self.worldTime(of: instant)) { [self] in
      if self.incarnation == incarnation { self.whenRunning(body) }
    }
  }

  func after(_ duration: Duration, _ body: @escaping () -> Void) { self.at(self.now() + duration, body) }

  // MARK: - Life

  private func start() {

    self.lease = .none
    #if APUS_MUTANTS
      self.lease.mutant = self.world.profile.mutant
    #endif
    self.register()
    self.keepCheckpoints()
  }

  func crash() {
    guard self.isUp else { return }
    self.world.log("node \(self.id) crashes")
    self.isUp = false
    self.incarnation += 1
    self.brokerEpoch = nil
    self.metadataOffset = 0
    self.standings = []
    self.waiters = [:]
    self.awaitingLease = []
    self.fetchers = []
    self.sessions = []
    self.pausedUntil = 0
    for replica in self.replicas {
      guard let replica else { continue }
      replica.leader = nil
      replica.follower = nil
      replica.armed = nil
      replica.flushAgain = false
      replica.highWatermark = replica.checkpoint
      // A process that dies loses nothing it has written; a machine that does loses what was not flushed.
      if self.world.profile.durability == .flushed {
        replica.log.lose(keeping: self.world.pick(0...4))
      } else {
        replica.log.endFlush()
      }
    }
    let dead = self.incarnation - 1
    if self.world.chance(50) {
      self.world.schedule(after: 2_000_000) { [self] in self.world.controller.isDead(self.id, incarnation: dead) }
    }
  }

  func restart() {
    if self.isUp { return }
    self.world.log("node \(self.id) restarts")
    self.isUp = true
    self.start()
  }

  func pause(for duration: Int64) {
    self.world.log("node \(self.id) pauses for \(duration / 1000)us")
    self.pausedUntil = max(self.pausedUntil, self.world.time + duration)
  }

  private func keepCheckpoints() {
    for replica in self.replicas { if let replica { replica.checkpoint = max(replica.log.startOffset, replica.highWatermark) } }
    self.after(self.world.profile.checkpointInterval) { [self] in self.keepCheckpoints() }
  }

  // MARK: - The session with the controller

  private func register() {
    guard self.brokerEpoch == nil else { return }
    let incarnation = self.incarnation
    self.world.send(from: self.id, to: -1) { [self] in
      guard let epoch = self.world.controller.register(self.id, incarnation: incarnation) else { return }
      self.world.send(from: -1, to: self.id) { [self] in
        guard self.incarnation == incarnation, self.brokerEpoch == nil else { return }
        self.brokerEpoch = epoch
        self.alter = AlterPartitionMachine(brokerEpoch: epoch, backoff: .milliseconds(10), backoffMax: .milliseconds(100))
        self.alterArmed = nil
        self.heartbeat()
      }
    }
    self.after(.milliseconds(100)) { [self] in self.register() }
  }

  private func heartbeat() {
    guard let epoch = self.brokerEpoch else { return }
    let (incarnation, sentAt, offset) = (self.incarnation, self.now(), self.metadataOffset)
    self.world.send(from: self.id, to: -1) { [self] in
      let isFenced = self.world.controller.heartbeat(self.id, epoch, metadataOffset: offset)
      let records = self.world.controller.records(from: offset)
      self.world.send(from: -1, to: self.id) { [self] in
        if self.incarnation == incarnation { self.heartbeatAnswered(isFenced, sentAt: sentAt, records, from: offset) }
      }
    }
    self.after(.milliseconds(50)) { [self] in self.heartbeat() }
  }

  private func heartbeatAnswered(_ isFenced: Bool?, sentAt: Instant, _ records: [Controller.Record], from offset: Int) {
    self.learn(records, from: offset)
    guard let isFenced else { return }
    if isFenced { return self.lease.revoke() }
    guard self.lease.grant(sentAt: sentAt, answeredAt: self.now(), under: Profile.leaseRule) else { return }
    let waiting = self.awaitingLease
    self.awaitingLease = []
    for partition in waiting { if let replica = self.replicas[partition] { self.stepLeader(replica, .leaseRenewed) } }
  }

  // MARK: - Metadata

  func learn(_ records: [Controller.Record], from offset: Int) {
    guard let brokerEpoch, offset <= self.metadataOffset, offset + records.count > self.metadataOffset else { return }
    // A process that has just started acts on nothing older than itself.
    guard offset + records.count >= Int(brokerEpoch.rawValue) else { return }
    let new = records.dropFirst(self.metadataOffset - offset)
    self.metadataOffset = offset + records.count
    var latest: [PartitionRegistration?] = Array(repeating: nil, count: self.replicas.count)
    for record in new {
      switch record {
      case .broker(let standing):
        self.standings.removeAll { $0.node == standing.node }
        self.standings.append(standing)
        for replica in self.replicas where replica?.leader != nil { self.stepLeader(replica!, .standingChanged(standing)) }
      case .partition(let partition, let registration): latest[partition] = registration
      }
    }
    for (partition, registration) in latest.enumerated() {
      if let registration, let replica = self.replicas[partition] { self.apply(registration, to: replica) }
    }
    self.turnEnded()
  }

  private func apply(_ registration: PartitionRegistration, to replica: Replica) {
    if registration.leader == self.nodeID {
      if let leader = replica.leader {
        if registration.leaderEpoch > leader.epoch { replica.log.beginEpoch(registration.leaderEpoch) }
        self.stepLeader(replica, .registrationChanged(registration))
      } else {
        if replica.follower != nil { self.stepFollower(replica, .stopped(.notLeaderOrFollower)) }
        replica.follower = nil
        self.lead(registration, replica)
      }
    } else {
      if replica.leader != nil {
        self.stepLeader(replica, .registrationChanged(registration))
        self.alter.handle(.withdrawn(replica.partition), now: self.now(), into: &self.noEffects)
        replica.leader = nil
      }
      if replica.follower == nil {
        replica.follower = FollowerMachine<Int>(
          node: self.nodeID, settings: self.followerSettings, log: replica.positions, lastEpoch: replica.log.lastEpoch)
        #if APUS_MUTANTS
          replica.follower!.mutant = self.world.profile.mutant
        #endif
      }
      self.stepFollower(replica, .registrationChanged(registration))
    }
  }

  var noEffects: [AlterPartitionMachine<Int>.Effect] = []

  private func lead(_ registration: PartitionRegistration, _ replica: Replica) {
    replica.log.beginEpoch(registration.leaderEpoch)
    var settings = LeaderSettings(flushPolicy: FlushPolicy(durability: self.world.profile.durability))
    settings.minInSyncReplicas = self.world.profile.minInSync
    settings.lagTimeMax = Profile.lagTimeMax
    settings.proposalBackoff = .milliseconds(20)
    settings.proposalLifetime = .milliseconds(400)
    replica.leader = LeaderMachine<Int>(
      node: self.nodeID, registration: registration, settings: settings, log: replica.positions, standings: self.standings,
      now: self.now())
    #if APUS_MUTANTS
      replica.leader!.mutant = self.world.profile.mutant
    #endif
    self.stepLeader(replica, .began)
  }

  private var followerSettings: FollowerSettings {
    FollowerSettings(
      flushPolicy: FlushPolicy(durability: self.world.profile.durability), backoff: .milliseconds(10), backoffMax: .milliseconds(80))
  }

  /// Lets the machines that gather things send them.
  func turnEnded() {
    self.stepAlter(.turnEnded)
    for fetcher in self.fetchers { self.step(fetcher, .turnEnded) }
  }

  // MARK: - Flushing

  func flush(_ replica: Replica) {
    if replica.log.flushing != nil {
      replica.flushAgain = true
      return
    }
    replica.log.beginFlush()
    if replica.leader != nil { self.stepLeader(replica, .flushBegan) }
    if replica.follower != nil { self.stepFollower(replica, .flushBegan) }
    self.after(.nanoseconds(self.world.pick(300_000...2_000_000) * self.flushSlowness)) { [self] in
      replica.log.endFlush()
      let end = Offset(replica.log.flushedEnd)
      if replica.leader != nil { self.stepLeader(replica, .flushed(upTo: end)) }
      if replica.follower != nil { self.stepFollower(replica, .flushed(upTo: end)) }
      if replica.flushAgain {
        replica.flushAgain = false
        self.flush(replica)
      }
      self.turnEnded()
    }
  }
}

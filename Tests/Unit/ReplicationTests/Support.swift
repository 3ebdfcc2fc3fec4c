import Base
import Model
import Replication

/// A leader (node 1) with followers 2 and 3, all in sync, and what a test does with it.
struct LeaderHarness {
  typealias Machine = LeaderMachine<Int>
  var machine: Machine
  var now = Instant.origin + .seconds(100)
  var lease = BrokerLease.unlimited
  var events: [ReplicationEvent] = []

  static let lagTimeMax = Duration.seconds(30)

  init(
    durability: FlushPolicy.Durability = .written, end: Int64 = 0, flushed: Int64? = nil, watermark: Int64 = 0, start: Int64 = 0,
    inSync: [Int32] = [1, 2, 3], minInSync: Int = 1, standings: [BrokerStanding]? = nil
  ) {
    var settings = LeaderSettings(flushPolicy: FlushPolicy(durability: durability))
    settings.minInSyncReplicas = minInSync
    self.machine = Machine(
      node: NodeID(1), registration: Self.registration(inSync: inSync), settings: settings,
      log: LogPositions(
        logStartOffset: Offset(start), logEndOffset: Offset(end), flushedOffset: Offset(flushed ?? end), highWatermark: Offset(watermark)),
      standings: standings ?? [Self.standing(2), Self.standing(3)], now: self.now)
    _ = self.does(.began)
  }

  static func registration(
    leader: Int32 = 1, epoch: Int32 = 5, version: Int32 = 10, replicas: [Int32] = [1, 2, 3], inSync: [Int32]
  ) -> PartitionRegistration {
    PartitionRegistration(
      leader: NodeID(leader), leaderEpoch: LeaderEpoch(epoch), partitionEpoch: PartitionEpoch(version),
      assignedReplicas: replicas.map { NodeID($0) }, inSyncReplicas: inSync.map { NodeID($0) })
  }

  static func standing(_ node: Int32, epoch: Int64 = 70, isFenced: Bool = false, isShuttingDown: Bool = false, rack: String? = nil)
    -> BrokerStanding
  {
    BrokerStanding(node: NodeID(node), brokerEpoch: BrokerEpoch(epoch), isFenced: isFenced, isShuttingDown: isShuttingDown, rack: rack)
  }

  /// What the inputs bring about; what is only told goes to `events`.
  mutating func does(_ inputs: Machine.Input...) -> [Machine.Effect] {
    var effects: [Machine.Effect] = []
    for input in inputs { self.machine.handle(input, now: self.now, lease: self.lease, into: &effects) }
    self.events = effects.compactMap { if case .trace(let event) = $0 { event } else { nil } }
    return effects.filter { if case .trace = $0 { false } else { true } }
  }

  mutating func fetch(_ node: Int32, _ offset: Int64, epoch: Int32 = 5, incarnation: Int64 = 70, start: Int64 = 0) -> [Machine.Effect] {
    self.does(.followerFetched(Self.fetch(node, offset, epoch: epoch, incarnation: incarnation, start: start)))
  }

  static func fetch(_ node: Int32, _ offset: Int64, epoch: Int32 = 5, incarnation: Int64 = 70, start: Int64 = 0) -> FollowerFetch {
    FollowerFetch(
      node: NodeID(node), brokerEpoch: BrokerEpoch(incarnation), fetchOffset: Offset(offset), logStartOffset: Offset(start),
      currentLeaderEpoch: LeaderEpoch(epoch))
  }

  mutating func pass(_ duration: Duration) { self.now = self.now + duration }

  /// Lets the timer fire when it is due, within `duration`.
  mutating func passWithTimer(_ duration: Duration) -> [Machine.Effect] {
    let end = self.now + duration
    var effects: [Machine.Effect] = []
    while let deadline = self.machine.nextDeadline, deadline <= end {
      self.now = max(self.now, deadline)
      effects += self.does(.timerFired)
    }
    self.now = end
    return effects
  }
}

/// The nodes of the proposal that the effects ask for; nil if they ask for none.
func proposed(_ effects: [LeaderMachine<Int>.Effect]) -> [Int32]? {
  for case .propose(let proposal) in effects { return proposal.inSyncReplicas.map(\.node.rawValue) }
  return nil
}

func accepted(basis: Int32, version: Int32, epoch: Int32 = 5, inSync: [Int32]) -> LeaderMachine<Int>.Input {
  .proposalAnswered(
    ProposalAnswer(
      basis: PartitionEpoch(basis), leaderEpoch: LeaderEpoch(epoch), partitionEpoch: PartitionEpoch(version),
      inSyncReplicas: inSync.map { NodeID($0) }))
}

func refused(_ error: ErrorCode, basis: Int32 = 10, sendCount: Int = 1) -> LeaderMachine<Int>.Input {
  .proposalAnswered(ProposalAnswer(basis: PartitionEpoch(basis), error: error, sendCount: sendCount))
}

import Base
import Environment
import LogCore
import Metadata
import Model
import Replication
import Storage
import Synchronization

// Who leads, and what a leader is told of the cluster.
extension Partition {
  /// What the partition is told when it begins or its registration changes. Images come in their order.
  ///
  /// - Parameter standings: of the brokers that hold replicas; asked for only when this broker leads.
  func apply(_ image: PartitionImage, standings: () -> [BrokerStanding]) {
    let registration = PartitionRegistration(image)
    let event: BrokerEvent? = self.step { state, effects in
      // A log whose disk failed neither leads nor follows, but knows who leads instead.
      if state.hasFailed {
        self.handle(Machine.Input.registrationChanged(registration), &state, &effects)
        return nil
      }
      return image.leader == self.node
        ? self.lead(registration, standings, &state, &effects) : self.follow(registration, &state, &effects)
    }
    if let event { self.events.record(event) }
  }

  private func lead(
    _ registration: PartitionRegistration, _ standings: () -> [BrokerStanding], _ state: inout State, _ effects: inout Effects
  ) -> BrokerEvent? {
    let isNew = state.follower != nil || registration.leaderEpoch > state.leader.epoch
    if isNew { state.log.beginLeaderEpoch(registration.leaderEpoch) }
    if let follower = state.follower {
      self.handle(.stopped(.notLeaderOrFollower), &state, &effects)
      state.follower = nil
      state.pendingCut = nil
      let positions = LogPositions(
        logStartOffset: state.log.logStartOffset, logEndOffset: state.log.logEndOffset, flushedOffset: state.log.flushedOffset,
        highWatermark: follower.log.highWatermark)
      state.leader = Machine(
        node: self.node, registration: registration, settings: state.settings.leader, log: positions, standings: standings(),
        now: self.environment.now())
      #if APUS_MUTANTS
        state.leader.mutant = self.environment.mutant.flatMap { Mutant(rawValue: $0) }
      #endif
    } else {
      self.handle(Machine.Input.registrationChanged(registration), &state, &effects)
      // Of replicas that are new here the machine knows nothing yet.
      for standing in standings() { self.handle(Machine.Input.standingChanged(standing), &state, &effects) }
    }
    self.handle(Machine.Input.began, &state, &effects)
    let leader = state.leader
    return isNew
      ? .becameLeader(
        self.topicPartition, leader.epoch, logEndOffset: leader.logEndOffset, highWatermark: leader.highWatermark) : nil
  }

  private func follow(_ registration: PartitionRegistration, _ state: inout State, _ effects: inout Effects) -> BrokerEvent? {
    state.isInSync = registration.inSyncReplicas.contains(self.node)
    // Also a machine that has resigned hears of it, since it knows who leads instead.
    self.handle(Machine.Input.registrationChanged(registration), &state, &effects)
    if state.follower == nil {
      if state.leader.resignation == nil { self.handle(Machine.Input.resigned(.notLeaderOrFollower), &state, &effects) }
      self.surroundings.proposals.withdraw(self.key)
      let positions = LogPositions(
        logStartOffset: state.log.logStartOffset, logEndOffset: state.log.logEndOffset, flushedOffset: state.log.flushedOffset,
        highWatermark: state.leader.highWatermark)
      state.follower = Follower(
        node: self.node, settings: state.settings.follower, log: positions, lastEpoch: Self.lastEpoch(state.log))
      #if APUS_MUTANTS
        state.follower?.mutant = self.environment.mutant.flatMap { Mutant(rawValue: $0) }
      #endif
    }
    // What was to be cut for an earlier leader, the next one asks for anew.
    if let epoch = state.follower?.epoch, registration.leaderEpoch > epoch { state.pendingCut = nil }
    self.handle(Follower.Input.registrationChanged(registration), &state, &effects)
    return nil
  }

  /// The epoch of the last record; `.unknown` if there is none.
  static func lastEpoch(_ log: PartitionLog<Env.Disk>) -> LeaderEpoch {
    guard log.logEndOffset > log.logStartOffset else { return .unknown }
    return log.leaderEpochs.epoch(at: Offset(log.logEndOffset.rawValue - 1)) ?? .unknown
  }

  /// Who leads instead of this broker, as far as the partition itself has heard (KIP-951).
  var successor: LeaderHint? {
    self.state.withLock { state in
      guard let follower = state.follower else { return state.leader.successor }
      return follower.leader == .none ? nil : LeaderHint(node: follower.leader, epoch: follower.epoch)
    }
  }

  // MARK: - What a leader hears

  /// Of no interest to a follower, or where the broker holds no replica.
  func standingChanged(_ standing: BrokerStanding) {
    self.step { state, effects in
      if state.follower == nil { self.handle(Machine.Input.standingChanged(standing), &state, &effects) }
    }
  }

  func leaseRenewed() {
    self.step { state, effects in
      if state.follower == nil { self.handle(Machine.Input.leaseRenewed, &state, &effects) }
    }
  }

  func proposalAnswered(_ answer: ProposalAnswer) {
    self.step { state, effects in
      if state.follower == nil { self.handle(Machine.Input.proposalAnswered(answer), &state, &effects) }
    }
  }
}

// The leader's one timer. It is set for the earliest deadline and left alone when that moves: it fires early then, and is set again. A
// partition whose followers hold everything has none.
extension Partition: Expirable {
  func arm(_ deadline: Instant, _ state: inout State) {
    if let armed = state.armedFor, armed <= deadline { return }
    state.armedFor = deadline
    _ = self.surroundings.deadlines.add(self, deadline: deadline)
  }

  func expire() {
    let now = self.environment.now()
    self.step { state, effects in
      // An earlier deadline was set after this one: its own call comes, or came.
      guard let armed = state.armedFor, armed <= now else { return }
      state.armedFor = nil
      guard state.follower == nil else { return }
      self.handle(Machine.Input.timerFired, &state, &effects)
    }
  }
}

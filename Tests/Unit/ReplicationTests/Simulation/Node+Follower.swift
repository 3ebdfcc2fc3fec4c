import Base
import Model
import Replication

/// The machine that fetches from one broker, with what its driver keeps.
final class Fetcher {
  let leader: Int
  let index: Int
  var machine: ReplicaFetcherMachine<Int>
  /// The leader's knowledge of our positions, which an answer refers to.
  var positions: [Int: FetchPosition] = [:]
  var armed: Int64?
  init(leader: Int, index: Int, now: Instant) {
    self.leader = leader
    self.index = index
    let settings = ReplicaFetcherMachine<Int>.Settings(
      patience: .milliseconds(3), backoff: .milliseconds(10), backoffMax: .milliseconds(80))
    self.machine = ReplicaFetcherMachine(settings: settings, now: now)
  }
}

// What a node does as a follower.
extension Node {
  func stepFollower(_ replica: Replica, _ input: FollowerMachine<Int>.Input) {
    guard replica.follower != nil else { return }
    var effects: [FollowerMachine<Int>.Effect] = []
    replica.follower!.handle(input, now: self.now(), into: &effects)
    replica.highWatermark = replica.follower!.log.highWatermark.rawValue
    for effect in effects { self.perform(effect, replica) }
  }

  private func perform(_ effect: FollowerMachine<Int>.Effect, _ replica: Replica) {
    guard let follower = replica.follower else { return }
    switch effect {
    case .fetch(let position, let notBefore):
      for fetcher in self.fetchers where fetcher.leader != Int(follower.leader.rawValue) {
        self.step(fetcher, .removed(replica.partition))
      }
      self.step(self.fetcher(of: follower.leader, replica.partition), .ready(replica.partition, position, notBefore: notBefore))
    case .stopFetching: for fetcher in self.fetchers { self.step(fetcher, .removed(replica.partition)) }
    case .append:
      for record in replica.incoming { replica.log.append(record) }
      self.stepFollower(replica, .appended(endOffset: Offset(replica.log.end), lastEpoch: replica.log.lastEpoch))
    case .truncate(let offset):
      replica.log.truncate(to: offset.rawValue)
      self.stepFollower(replica, .truncated(endOffset: Offset(replica.log.end), lastEpoch: replica.log.lastEpoch))
    case .restart(let offset):
      replica.log.restart(at: offset.rawValue)
      self.stepFollower(replica, .restarted(at: offset))
    case .advanceLogStart(let offset):
      replica.log.advanceStart(to: offset.rawValue)
      self.stepFollower(replica, .logStartAdvanced(to: offset))
    case .askLeaderOffsets(let epoch, let notBefore):
      if let notBefore { self.at(notBefore) { [self] in self.askOffsets(replica, epoch) } } else { self.askOffsets(replica, epoch) }
    case .requestFlush: self.flush(replica)
    case .highWatermarkAdvanced, .wake: break
    case .trace(let event):
      self.world.log("node \(self.id) p\(replica.partition): \(event)")
      self.world.checker.observe(event, replica.partition, self.id)
    }
  }

  private func fetcher(of leader: NodeID, _ partition: Int) -> Fetcher {
    let index = partition % self.world.profile.fetcherCount
    if let fetcher = self.fetchers.first(where: { $0.leader == Int(leader.rawValue) && $0.index == index }) { return fetcher }
    let fetcher = Fetcher(leader: Int(leader.rawValue), index: index, now: self.now())
    self.fetchers.append(fetcher)
    return fetcher
  }

  // MARK: - Fetching

  func step(_ fetcher: Fetcher, _ input: ReplicaFetcherMachine<Int>.Input) {
    var effects: [ReplicaFetcherMachine<Int>.Effect] = []
    fetcher.machine.handle(input, now: self.now(), into: &effects)
    for effect in effects {
      switch effect {
      case .send(let plan): self.send(plan, fetcher)
      case .sessionLost(let error): self.world.log("node \(self.id) lost its session with \(fetcher.leader): \(error)")
      }
    }
    guard let deadline = fetcher.machine.nextDeadline else { return }
    if let armed = fetcher.armed, armed <= deadline.nanoseconds { return }
    fetcher.armed = deadline.nanoseconds
    self.at(deadline) { [self] in
      guard fetcher.armed == deadline.nanoseconds else { return }
      fetcher.armed = nil
      self.step(fetcher, .timerFired)
    }
  }

  private func send(_ plan: FetchPlan<Int>, _ fetcher: Fetcher) {
    if plan.sessionEpoch == 0 { fetcher.positions = [:] }
    for key in plan.forgotten { fetcher.positions[key] = nil }
    for item in plan.positions { fetcher.positions[item.key] = item.position }
    let (incarnation, leader, epoch) = (self.incarnation, self.world.nodes[fetcher.leader], self.brokerEpoch ?? .unknown)
    self.world.send(from: self.id, to: leader.id) { [self] in
      let leaderIncarnation = leader.incarnation
      leader.serve(plan, follower: self.id, fetcher: fetcher.index, incarnation: incarnation, brokerEpoch: epoch) {
        [self] error, session, answers in
        guard leader.incarnation == leaderIncarnation else { return }
        self.world.send(from: leader.id, to: self.id) { [self] in
          if self.incarnation == incarnation { self.answered(plan, fetcher, error, session, answers) }
        }
      }
    }
    self.after(Profile.requestTimeout) { [self] in
      self.step(fetcher, .failed(number: plan.number))
      self.step(fetcher, .turnEnded)
    }
  }

  private func answered(_ plan: FetchPlan<Int>, _ fetcher: Fetcher, _ error: ErrorCode, _ session: Int32, _ answers: [PartitionAnswer]) {
    guard fetcher.machine.awaits(plan.number) else { return }
    self.step(fetcher, .answered(number: plan.number, sessionID: session, error: error, keys: answers.map(\.partition)))
    for answer in answers {
      guard let replica = self.replicas[answer.partition], let follower = replica.follower,
        Int(follower.leader.rawValue) == fetcher.leader, let position = fetcher.positions[answer.partition]
      else { continue }
      var told = FetchAnswer(
        position: position, error: answer.error, highWatermark: answer.highWatermark, logStartOffset: answer.logStartOffset)
      if let end = answer.divergence {
        let own = replica.log.epochEnd(end.epoch).map { EpochEnd(epoch: $0.epoch, endOffset: $0.endOffset) }
        told.divergence = .init(leaderEnd: end, ownEnd: own)
      }
      if !answer.records.isEmpty {
        told.records = .init(baseOffset: position.fetchOffset, endOffset: position.fetchOffset + Int64(answer.records.count))
      }
      replica.incoming = answer.records
      self.stepFollower(replica, .answered(told))
    }
    self.turnEnded()
  }

  private func askOffsets(_ replica: Replica, _ epoch: LeaderEpoch) {
    guard let follower = replica.follower, follower.epoch == epoch, follower.phase == .askingOffsets else { return }
    let (incarnation, leader) = (self.incarnation, self.world.nodes[Int(follower.leader.rawValue)])
    func tell(_ offsets: LeaderOffsets) {
      if self.incarnation == incarnation { self.stepFollower(replica, .leaderOffsetsLearned(offsets)) }
      self.turnEnded()
    }
    var isAnswered = false
    self.world.send(from: self.id, to: leader.id) { [self] in
      var offsets = LeaderOffsets(leaderEpoch: epoch, error: .notLeaderOrFollower, logStartOffset: .zero, logEndOffset: .zero)
      if let leading = leader.replicas[replica.partition]?.leader {
        offsets = LeaderOffsets(
          leaderEpoch: epoch, error: leading.refusal(ofEpoch: epoch) ?? .none, logStartOffset: leading.logStartOffset,
          logEndOffset: leading.logEndOffset)
      }
      self.world.send(from: leader.id, to: self.id) {
        if isAnswered { return }
        isAnswered = true
        tell(offsets)
      }
    }
    self.after(Profile.requestTimeout) {
      if isAnswered { return }
      isAnswered = true
      tell(LeaderOffsets(leaderEpoch: epoch, error: .requestTimedOut, logStartOffset: .zero, logEndOffset: .zero))
    }
  }
}

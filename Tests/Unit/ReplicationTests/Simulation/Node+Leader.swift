import Base
import Model
import Replication

// What a node does as a leader: appends, serves fetches, proposes.
extension Node {
  func stepLeader(_ replica: Replica, _ input: LeaderMachine<Int>.Input) {
    guard replica.leader != nil else { return }
    var effects: [LeaderMachine<Int>.Effect] = []
    replica.leader!.handle(input, now: self.now(), lease: self.lease, into: &effects)
    replica.highWatermark = replica.leader!.highWatermark.rawValue
    for effect in effects { self.perform(effect, replica) }
    self.arm(replica)
  }

  private func perform(_ effect: LeaderMachine<Int>.Effect, _ replica: Replica) {
    switch effect {
    case .highWatermarkAdvanced(let offset):
      self.world.checker.committed(replica.partition, self.id, replica.log, upTo: offset.rawValue)
    case .requestFlush: self.flush(replica)
    case .acknowledge(let token): self.settle(token, .none)
    case .fail(let token, let error): self.settle(token, error)
    case .wake(let token):
      guard case .fetch(let request) = self.waiters[token] else { return }
      self.wake(request)
    case .propose(let proposal): self.stepAlter(.proposed(replica.partition, proposal))
    case .awaitLease: self.awaitingLease.append(replica.partition)
    case .trace(let event): self.world.log("node \(self.id) p\(replica.partition): \(event)")
    }
  }

  private func arm(_ replica: Replica) {
    guard let deadline = replica.leader?.nextDeadline else { return }
    if let armed = replica.armed, armed <= deadline.nanoseconds { return }
    replica.armed = deadline.nanoseconds
    self.at(deadline) { [self] in
      guard replica.armed == deadline.nanoseconds else { return }
      replica.armed = nil
      self.stepLeader(replica, .timerFired)
      self.turnEnded()
    }
  }

  private func settle(_ token: Int, _ error: ErrorCode) {
    guard case .produce(let answer) = self.waiters.removeValue(forKey: token) else { return }
    answer(error)
  }

  func newToken(_ waiter: Waiter) -> Int {
    self.lastToken += 1
    self.waiters[self.lastToken] = waiter
    return self.lastToken
  }

  // MARK: - Clients

  /// - Parameter answer: the error, the offset if it was appended, and who leads if we do not.
  func produce(_ partition: Int, _ values: [UInt64], needsAll: Bool, answer: @escaping (ErrorCode, Int64, LeaderHint?) -> Void) {
    guard let replica = self.replicas[partition], let leader = replica.leader else {
      let hint = self.replicas[partition]?.follower.map { LeaderHint(node: $0.leader, epoch: $0.epoch) }
      return answer(.notLeaderOrFollower, -1, hint)
    }
    if let refusal = leader.refusalOfProduce(needsAll: needsAll, now: self.now(), lease: self.lease) {
      return answer(refusal, -1, leader.successor)
    }
    let base = replica.log.end
    for value in values { replica.log.append(.init(epoch: leader.epoch, value: value)) }
    let end = replica.log.end
    self.stepLeader(replica, .appended(endOffset: Offset(end)))
    if !needsAll {
      self.world.checker.acknowledged(partition, leader.epoch)
      answer(.none, base, nil)
    } else {
      let epoch = leader.epoch
      let token = self.newToken(
        .produce { [self] error in
          if error == .none {
            self.world.checker.acknowledged(partition, epoch)
            self.world.checker.acknowledgedAll(partition, base: base, values)
          }
          answer(error, base, nil)
        })
      self.stepLeader(replica, .awaitCommit(token, requiredOffset: Offset(end)))
    }
    self.turnEnded()
  }

  // MARK: - AlterPartition

  func stepAlter(_ input: AlterPartitionMachine<Int>.Input) {
    guard self.brokerEpoch != nil else { return }
    var effects: [AlterPartitionMachine<Int>.Effect] = []
    self.alter.handle(input, now: self.now(), into: &effects)
    for effect in effects {
      switch effect {
      case .send(let plan): self.send(plan)
      case .deliver(let partition, let answer):
        guard let replica = self.replicas[partition] else { continue }
        self.stepLeader(replica, .proposalAnswered(answer))
        // Whatever keeps answers may bring one again, to a leader that has moved on.
        if self.world.has(.duplicate), self.world.chance(30) {
          self.after(.nanoseconds(self.world.pick(0...400_000_000))) { [self] in self.stepLeader(replica, .proposalAnswered(answer)) }
        }
      }
    }
    guard let deadline = self.alter.nextDeadline, self.alterArmed == nil else { return }
    self.alterArmed = deadline.nanoseconds
    self.at(deadline) { [self] in
      self.alterArmed = nil
      self.stepAlter(.timerFired)
    }
  }

  private func send(_ plan: AlterPartitionPlan<Int>) {
    let incarnation = self.incarnation
    self.world.send(from: self.id, to: -1, once: true) { [self] in
      let (error, answers) = self.world.controller.alter(self.id, plan)
      self.world.send(from: -1, to: self.id) { [self] in
        guard self.incarnation == incarnation else { return }
        self.stepAlter(.answered(number: plan.number, error: error, answers: answers))
        self.turnEnded()
      }
    }
    self.after(.milliseconds(100)) { [self] in
      self.stepAlter(.failed(number: plan.number))
      self.stepAlter(.turnEnded)
    }
  }
}

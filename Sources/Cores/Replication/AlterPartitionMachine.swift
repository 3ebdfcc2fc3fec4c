package import Base
package import Model
import OrderedCollections

/// What one AlterPartition request to the controller carries.
package struct AlterPartitionPlan<Key: Hashable & Sendable>: Sendable {
  package struct Item: Sendable {
    package var key: Key
    package var proposal: InSyncProposal
  }
  /// Names the request in `answered` and `failed`.
  package var number: UInt64
  /// This broker's incarnation.
  package var brokerEpoch: BrokerEpoch
  package var items: [Item]
}

/// Takes the proposals of all partitions that this broker leads to the controller: one request at a time, with everything that has
/// gathered.
///
/// A request that fails is sent again with the same proposals, until each was answered or withdrawn, since only the controller knows
/// whether it was applied. Proposals of partitions come and go by key; a newer one for a key takes the older one's place.
package struct AlterPartitionMachine<Key: Hashable & Sendable>: Sendable {
  package enum Input: Sendable {
    /// A leader proposes.
    case proposed(Key, InSyncProposal)
    /// Nobody waits for an answer to the partition's proposal any more.
    case withdrawn(Key)
    /// This broker is registered in a new incarnation.
    case registered(BrokerEpoch)
    /// The controller answered: the whole request with `error`, or each of `answers`.
    case answered(number: UInt64, error: ErrorCode, answers: [Answer])
    /// No answer will come.
    case failed(number: UInt64)
    case timerFired
    /// The driver has nothing more to tell now.
    case turnEnded
  }

  package struct Answer: Sendable {
    package var key: Key
    package var error: ErrorCode
    package var leaderEpoch: LeaderEpoch
    package var partitionEpoch: PartitionEpoch
    package var inSyncReplicas: [NodeID]
    package init(
      key: Key, error: ErrorCode = .none, leaderEpoch: LeaderEpoch = .unknown, partitionEpoch: PartitionEpoch = PartitionEpoch(-1),
      inSyncReplicas: [NodeID] = []
    ) {
      self.key = key
      self.error = error
      self.leaderEpoch = leaderEpoch
      self.partitionEpoch = partitionEpoch
      self.inSyncReplicas = inSyncReplicas
    }
  }

  package enum Effect: Sendable {
    case send(AlterPartitionPlan<Key>)
    /// The leader's machine is to be told.
    case deliver(Key, ProposalAnswer)
  }

  private struct Waiting: Sendable {
    var proposal: InSyncProposal
    var sendCount: Int
    var isInFlight = false
    var isAnswered = false
  }

  /// In the order they came.
  private var waiting: OrderedDictionary<Key, Waiting> = [:]
  private var brokerEpoch: BrokerEpoch
  private var inFlight: UInt64?
  private var lastNumber: UInt64 = 0
  private var backoffEnd: Instant?
  private var failures = 0
  private let backoff: Duration
  private let backoffMax: Duration

  package init(brokerEpoch: BrokerEpoch, backoff: Duration = .milliseconds(50), backoffMax: Duration = .seconds(1)) {
    self.brokerEpoch = brokerEpoch
    self.backoff = backoff
    self.backoffMax = backoffMax
  }

  package var waitingCount: Int { self.waiting.count }
  package var nextDeadline: Instant? { self.inFlight == nil && !self.waiting.isEmpty ? self.backoffEnd : nil }

  package mutating func handle(_ input: Input, now: Instant, into effects: inout [Effect]) {
    switch input {
    case .proposed(let key, let proposal):
      let sameBefore = self.waiting[key].flatMap { $0.proposal == proposal ? $0 : nil }
      self.waiting[key] = sameBefore ?? Waiting(proposal: proposal, sendCount: 0)
    case .withdrawn(let key): self.waiting[key] = nil
    case .registered(let epoch): self.brokerEpoch = epoch
    case .answered(let number, let error, let answers):
      guard number == self.inFlight else { return }
      if error == .none { self.conclude(answers, now, into: &effects) } else { self.tryAgain(now) }
    case .failed(let number):
      if number == self.inFlight { self.tryAgain(now) }
    case .timerFired, .turnEnded: self.sendIfDue(now, into: &effects)
    }
  }

  private mutating func conclude(_ answers: [Answer], _ now: Instant, into effects: inout [Effect]) {
    self.inFlight = nil
    self.failures = 0
    for answer in answers {
      guard let place = self.waiting.index(forKey: answer.key), self.waiting.values[place].isInFlight else { continue }
      let asked = self.waiting.values[place]
      self.waiting.values[place].isInFlight = false
      self.waiting.values[place].isAnswered = true
      let told = ProposalAnswer(
        basis: asked.proposal.partitionEpoch, error: answer.error, sendCount: asked.sendCount, leaderEpoch: answer.leaderEpoch,
        partitionEpoch: answer.partitionEpoch, inSyncReplicas: answer.inSyncReplicas)
      effects.append(.deliver(answer.key, told))
    }
    // One by one they would be moved together as often as there are answers.
    self.waiting.removeAll { $0.value.isAnswered }
    // What the controller left out is asked again.
    if self.waiting.values.contains(where: \.isInFlight) { self.tryAgain(now) }
  }

  private mutating func tryAgain(_ now: Instant) {
    self.inFlight = nil
    for place in self.waiting.values.indices { self.waiting.values[place].isInFlight = false }
    self.backoffEnd = now + min(self.backoff * (1 << min(self.failures, 16)), self.backoffMax)
    self.failures += 1
  }

  private mutating func sendIfDue(_ now: Instant, into effects: inout [Effect]) {
    guard self.inFlight == nil, !self.waiting.isEmpty else { return }
    if let backoffEnd, now < backoffEnd { return }
    self.backoffEnd = nil
    self.lastNumber += 1
    self.inFlight = self.lastNumber
    var plan = AlterPartitionPlan<Key>(number: self.lastNumber, brokerEpoch: self.brokerEpoch, items: [])
    for place in self.waiting.values.indices {
      self.waiting.values[place].isInFlight = true
      self.waiting.values[place].sendCount += 1
      plan.items.append(.init(key: self.waiting.keys[place], proposal: self.waiting.values[place].proposal))
    }
    effects.append(.send(plan))
  }
}

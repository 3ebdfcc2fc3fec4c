import Base
import Model
import Replication

/// A fetch session as the leader's broker keeps it (KIP-227).
final class FetchSession {
  let follower: Int
  let fetcher: Int
  let incarnation: Int
  var id: Int32 = 0
  /// Of the next request.
  var epoch: Int32 = 0
  var order: [Int] = []
  var positions: [Int: FetchPosition] = [:]
  var lastNumber: UInt64 = 0

  init(follower: Int, fetcher: Int, incarnation: Int) {
    self.follower = follower
    self.fetcher = fetcher
    self.incarnation = incarnation
  }
}

/// A follower's request at the leader.
final class FetchRequest {
  let session: FetchSession
  let brokerEpoch: BrokerEpoch
  let sessionID: Int32
  let answer: (ErrorCode, Int32, [PartitionAnswer]) -> Void
  var token: Int?
  var isDone = false

  init(session: FetchSession, brokerEpoch: BrokerEpoch, sessionID: Int32, answer: @escaping (ErrorCode, Int32, [PartitionAnswer]) -> Void)
  {
    self.session = session
    self.brokerEpoch = brokerEpoch
    self.sessionID = sessionID
    self.answer = answer
  }
}

struct PartitionAnswer {
  var partition: Int
  var error = ErrorCode.none
  var highWatermark = Offset.unknown
  var logStartOffset = Offset.unknown
  var records: [SimulatedLog.Record] = []
  var divergence: EpochEnd?
}

// The leader's end of the followers' fetches.
extension Node {
  func serve(
    _ plan: FetchPlan<Int>, follower: Int, fetcher: Int, incarnation: Int, brokerEpoch: BrokerEpoch,
    answer: @escaping (ErrorCode, Int32, [PartitionAnswer]) -> Void
  ) {
    var session = self.sessions.first { $0.follower == follower && $0.fetcher == fetcher }
    if let known = session, known.incarnation > incarnation || (known.incarnation == incarnation && known.lastNumber >= plan.number) {
      // A copy, or one that was overtaken: its connection is gone.
      return
    }
    if session == nil || session!.incarnation < incarnation {
      self.sessions.removeAll { $0.follower == follower && $0.fetcher == fetcher }
      session = FetchSession(follower: follower, fetcher: fetcher, incarnation: incarnation)
      self.sessions.append(session!)
    }
    let kept = session!
    kept.lastNumber = plan.number
    if plan.sessionEpoch == 0 {
      self.lastSessionID += 1
      kept.id = self.world.has(.evictSessions) && self.world.chance(30) ? 0 : self.lastSessionID
      kept.epoch = 1
      kept.order = []
      kept.positions = [:]
    } else {
      if kept.id != plan.sessionID || (self.world.has(.evictSessions) && self.world.chance(2)) {
        kept.id = 0
        return answer(.fetchSessionIdNotFound, 0, [])
      }
      if kept.epoch != plan.sessionEpoch { return answer(.invalidFetchSessionEpoch, 0, []) }
      kept.epoch += 1
    }
    for key in plan.forgotten {
      kept.positions[key] = nil
      kept.order.removeAll { $0 == key }
    }
    for item in plan.positions {
      if kept.positions[item.key] == nil { kept.order.append(item.key) }
      kept.positions[item.key] = item.position
    }
    let request = FetchRequest(session: kept, brokerEpoch: brokerEpoch, sessionID: kept.id, answer: answer)
    // Only partitions that say something new cost the machines anything.
    for item in plan.positions { self.observe(item.key, item.position, request) }
    self.tryAnswer(request, isLast: plan.sessionEpoch == 0)
    self.after(.milliseconds(80)) { [self] in self.tryAnswer(request, isLast: true) }
    self.turnEnded()
  }

  private func fetch(_ position: FetchPosition, _ request: FetchRequest) -> FollowerFetch {
    FollowerFetch(
      node: NodeID(Int32(request.session.follower)), brokerEpoch: request.brokerEpoch, fetchOffset: position.fetchOffset,
      logStartOffset: position.logStartOffset, currentLeaderEpoch: position.currentLeaderEpoch)
  }

  private func observe(_ partition: Int, _ position: FetchPosition, _ request: FetchRequest) {
    guard let replica = self.replicas[partition], let leader = replica.leader else { return }
    let fetch = self.fetch(position, request)
    let offset = position.fetchOffset.rawValue
    guard leader.refusal(of: fetch) == nil, offset >= replica.log.startOffset, offset <= replica.log.end,
      self.divergence(position, replica) == nil
    else { return }
    self.stepLeader(replica, .followerFetched(fetch))
  }

  private func divergence(_ position: FetchPosition, _ replica: Replica) -> EpochEnd? {
    guard position.lastFetchedEpoch != .unknown, let end = replica.log.epochEnd(position.lastFetchedEpoch) else { return nil }
    guard end.epoch < position.lastFetchedEpoch || end.endOffset < position.fetchOffset else { return nil }
    return EpochEnd(epoch: end.epoch, endOffset: end.endOffset)
  }

  /// Nil: there is nothing to tell of it.
  private func look(at partition: Int, _ position: FetchPosition, _ request: FetchRequest, room: Int) -> PartitionAnswer? {
    var answer = PartitionAnswer(partition: partition)
    guard let replica = self.replicas[partition], let leader = replica.leader else {
      answer.error = .notLeaderOrFollower
      return answer
    }
    let fetch = self.fetch(position, request)
    if let refusal = leader.refusal(of: fetch) {
      answer.error = refusal
      return answer
    }
    let offset = position.fetchOffset.rawValue
    if offset < replica.log.startOffset || offset > replica.log.end {
      answer.error = .offsetOutOfRange
      return answer
    }
    answer.highWatermark = leader.highWatermark
    answer.logStartOffset = leader.logStartOffset
    answer.divergence = self.divergence(position, replica)
    if answer.divergence != nil { return answer }
    answer.records = replica.log.slice(from: offset, countMax: min(20, room))
    return answer.records.isEmpty && !leader.owesOffsets(to: fetch.node) ? nil : answer
  }

  func tryAnswer(_ request: FetchRequest, isLast: Bool) {
    if request.isDone { return }
    let session = request.session
    // The session went on with another request: this one's connection is gone.
    guard session.id == request.sessionID else { return }
    var answers: [PartitionAnswer] = []
    var room = 60
    for partition in session.order {
      guard let position = session.positions[partition],
        let answer = self.look(at: partition, position, request, room: room)
      else { continue }
      room -= answer.records.count
      answers.append(answer)
    }
    if answers.isEmpty, !isLast { return self.park(request) }
    request.isDone = true
    self.cancelWait(request)
    for answer in answers {
      session.order.removeAll { $0 == answer.partition }
      session.order.append(answer.partition)
      if answer.error == .none, let replica = self.replicas[answer.partition] {
        self.stepLeader(replica, .followerAnswered(NodeID(Int32(session.follower))))
      }
    }
    request.answer(.none, session.id, answers)
  }

  private func park(_ request: FetchRequest) {
    let token = self.newToken(.fetch(request))
    request.token = token
    for partition in request.session.order {
      guard request.token == token, let replica = self.replicas[partition], let position = request.session.positions[partition] else {
        continue
      }
      self.stepLeader(replica, .awaitFollowerFetch(token, NodeID(Int32(request.session.follower)), from: position.fetchOffset))
    }
  }

  private func cancelWait(_ request: FetchRequest) {
    guard let token = request.token else { return }
    request.token = nil
    self.waiters[token] = nil
    for partition in request.session.order { if let replica = self.replicas[partition] { self.stepLeader(replica, .cancelFetch(token)) } }
  }

  func wake(_ request: FetchRequest) {
    self.cancelWait(request)
    self.after(.nanoseconds(1000)) { [self] in self.tryAnswer(request, isLast: false) }
  }
}

import Base
import Environment
import Model
import Synchronization
import Wire

/// A produce with `acks=all` whose records are written and not all committed yet.
///
/// It holds the answer as it will be if all goes well; what fails or takes too long is put in before it is sent. The records themselves
/// are not held: they are in the log.
final class PendingProduce<Env: Environment>: Expirable {
  /// A partition that is waited for, and where the answer speaks of it.
  struct Place: Sendable {
    var partition: Partition<Env>
    var requiredOffset: Offset
    var topicIndex: Int
    var partitionIndex: Int
  }

  private struct State: Sendable {
    var response: ProduceResponse
    var isSettled: [Bool]
    var unsettledCount: Int
    var deadline: DeadlineQueue<Env>.Handle?
  }

  private let broker: Broker<Env>
  private let exchange: Exchange<Env.Disk.File>
  private let places: [Place]
  private let state: Mutex<State>
  private var deadlines: DeadlineQueue<Env> { self.broker.deadlines }

  init(broker: Broker<Env>, exchange: Exchange<Env.Disk.File>, response: ProduceResponse, places: [Place]) {
    self.broker = broker
    self.exchange = exchange
    self.places = places
    self.state = Mutex(State(response: response, isSettled: Array(repeating: false, count: places.count), unsettledCount: places.count))
  }

  /// Begins to wait. The answer may go out before this returns.
  func start(timeout: Duration, now: Instant) {
    if timeout <= .zero { return self.expire() }
    let handle = self.deadlines.add(self, deadline: now + timeout)
    let isOver = self.state.withLock { state in
      state.deadline = handle
      return state.unsettledCount == 0
    }
    if isOver { return self.deadlines.cancel(handle) }
    for (index, place) in self.places.enumerated() { place.partition.awaitCommit(.produce(self, index), place.requiredOffset) }
  }

  /// What the partition at `place` waits for came (`none`) or will not come.
  func settle(_ place: Int, _ code: ErrorCode) {
    let answer: (ProduceResponse, DeadlineQueue<Env>.Handle?)? = self.state.withLock { state in
      guard self.settle(place, code, &state), state.unsettledCount == 0 else { return nil }
      return (state.response, state.deadline)
    }
    guard let (settled, deadline) = answer else { return }
    var response = settled
    if let deadline { self.deadlines.cancel(deadline) }
    self.nameLeaders(&response)
    self.exchange.respond(response)
  }

  /// Tells where to go on with partitions that stopped being led here while they were waited for (KIP-951).
  private func nameLeaders(_ response: inout ProduceResponse) {
    for place in self.places {
      var answer = response.responses[place.topicIndex].partitionResponses[place.partitionIndex]
      guard answer.errorCode == .notLeaderOrFollower || answer.errorCode == .fencedLeaderEpoch else { continue }
      let name = place.partition.topicPartition
      self.broker.nameLeader(of: .id(place.partition.topicID), name.partition, self.exchange, &answer, &response)
      response.responses[place.topicIndex].partitionResponses[place.partitionIndex] = answer
    }
  }

  func expire() {
    let answer: ProduceResponse? = self.state.withLock { state in
      if state.unsettledCount == 0 { return nil }
      for place in self.places.indices { _ = self.settle(place, .requestTimedOut, &state) }
      return state.response
    }
    guard let answer else { return }
    for (index, place) in self.places.enumerated() { place.partition.cancelCommit(.produce(self, index)) }
    self.exchange.respond(answer)
  }

  private func settle(_ index: Int, _ code: ErrorCode, _ state: inout State) -> Bool {
    if state.isSettled[index] { return false }
    state.isSettled[index] = true
    state.unsettledCount -= 1
    if code != .none {
      // The records are in the log and may still be committed: a client that tries again relies on its sequence numbers.
      let place = self.places[index]
      state.response.responses[place.topicIndex].partitionResponses[place.partitionIndex].fail(code)
    }
    return true
  }
}

extension ProduceResponse.PartitionProduceResponse {
  /// Turns the partition's answer into a refusal, with nothing in it that only success has.
  mutating func fail(_ code: ErrorCode, _ message: String? = nil) {
    self.errorCode = code
    self.baseOffset = -1
    self.logAppendTimeMs = -1
    self.logStartOffset = -1
    self.errorMessage = message
  }
}

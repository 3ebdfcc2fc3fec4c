import Base
import Environment
import Model
import Synchronization
import Wire

/// A DeleteRecords that waits until all live replicas have deleted what this one did.
final class PendingDeletion<Env: Environment>: Expirable {
  /// A partition that is waited for, and where the answer speaks of it.
  struct Place: Sendable {
    var partition: Partition<Env>
    var offset: Offset
    var topicIndex: Int
    var partitionIndex: Int
  }

  private struct State: Sendable {
    var response: DeleteRecordsResponse
    var isSettled: [Bool]
    var unsettledCount: Int
    var deadline: DeadlineQueue<Env>.Handle?
  }

  private let exchange: Exchange<Env.Disk.File>
  private let places: [Place]
  private let deadlines: DeadlineQueue<Env>
  private let state: Mutex<State>

  init(exchange: Exchange<Env.Disk.File>, response: DeleteRecordsResponse, places: [Place], deadlines: DeadlineQueue<Env>) {
    self.exchange = exchange
    self.places = places
    self.deadlines = deadlines
    self.state = Mutex(State(response: response, isSettled: Array(repeating: false, count: places.count), unsettledCount: places.count))
  }

  /// Begins to wait. The answer may go out before this returns.
  func start(timeout: Duration, now: Instant) {
    if timeout <= .zero { return self.expire() }
    let handle = self.deadlines.add(self, deadline: now + timeout)
    self.state.withLock { $0.deadline = handle }
    for (index, place) in self.places.enumerated() { place.partition.awaitLowWatermark(.deletion(self, index), place.offset) }
  }

  /// The deletion at `place` is complete (`none`) or is not known to become so here.
  func settle(_ place: Int, _ code: ErrorCode) {
    let lowWatermark = self.places[place].partition.lowWatermark
    let answer: (DeleteRecordsResponse, DeadlineQueue<Env>.Handle?)? = self.state.withLock { state in
      guard self.settle(place, code, lowWatermark, &state), state.unsettledCount == 0 else { return nil }
      return (state.response, state.deadline)
    }
    guard let (response, deadline) = answer else { return }
    if let deadline { self.deadlines.cancel(deadline) }
    self.exchange.respond(response)
  }

  func expire() {
    let answer: DeleteRecordsResponse? = self.state.withLock { state in
      if state.unsettledCount == 0 { return nil }
      for place in self.places.indices { _ = self.settle(place, .requestTimedOut, .unknown, &state) }
      return state.response
    }
    guard let answer else { return }
    for (index, place) in self.places.enumerated() { place.partition.cancelLowWatermark(.deletion(self, index)) }
    self.exchange.respond(answer)
  }

  private func settle(_ index: Int, _ code: ErrorCode, _ lowWatermark: Offset, _ state: inout State) -> Bool {
    if state.isSettled[index] { return false }
    state.isSettled[index] = true
    state.unsettledCount -= 1
    let place = self.places[index]
    state.response.topics[place.topicIndex].partitions[place.partitionIndex].errorCode = code
    state.response.topics[place.topicIndex].partitions[place.partitionIndex].lowWatermark = code == .none ? lowWatermark.rawValue : -1
    return true
  }
}

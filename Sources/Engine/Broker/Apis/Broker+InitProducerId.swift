import Base
import Environment
import Metadata
import Model
import Synchronization
import Wire

// InitProducerId (KIP-98): ids for idempotent producers, from blocks that the controller gives out.
extension Broker {
  func handleInitProducerId(_ exchange: Exchange<Env.Disk.File>, _ request: InitProducerIdRequest) {
    if (request.producerId == -1) != (request.producerEpoch == -1) || request.transactionalId == "" {
      return exchange.respond(InitProducerIdResponse(errorCode: .invalidRequest, producerEpoch: -1))
    }
    if request.transactionalId != nil {
      // A producer with transactions needs a coordinator, and there is none; anything retriable would keep it asking.
      return exchange.respond(InitProducerIdResponse(errorCode: .unsupportedVersion, producerEpoch: -1))
    }
    self.producerIDs.take(from: self) { result in
      switch result {
      case .success(let id): exchange.respond(InitProducerIdResponse(producerId: id.rawValue, producerEpoch: 0))
      case .failure(let error):
        // The client tries again on this code, as it does while Kafka's brokers wait for a block.
        let code: ErrorCode = error.code == .requestTimedOut ? .coordinatorLoadInProgress : error.code
        exchange.respond(InitProducerIdResponse(errorCode: code, producerEpoch: -1))
      }
    }
  }
}

/// The producer ids this broker may give out, a block at a time.
final class ProducerIDBlock<Env: Environment>: Sendable {
  typealias Answer = @Sendable (Result<ProducerID, ApiError>) -> Void

  private struct State: Sendable {
    var next: Int64 = 0
    var end: Int64 = 0
    /// Who came while a block was on its way. Bounded: every connection waits for its answer before it asks again.
    var waiting: [Answer] = []
  }
  private let state = Mutex(State())

  func take(from broker: Broker<Env>, answer: @escaping Answer) {
    let (id, mustAsk): (ProducerID?, Bool) = self.state.withLock { state in
      if state.next < state.end {
        defer { state.next += 1 }
        return (ProducerID(state.next), false)
      }
      state.waiting.append(answer)
      return (nil, state.waiting.count == 1)
    }
    if let id { return answer(.success(id)) }
    guard mustAsk else { return }
    let request = AllocateProducerIdsRequest(brokerId: broker.config.nodeID.rawValue, brokerEpoch: broker.brokerEpoch.rawValue)
    broker.askController(request, timeout: .seconds(5), isUndecided: { $0.errorCode == .notController }) { result in
      self.receive(result.flatMap { $0.errorCode == .none ? .success($0) : .failure(ApiError($0.errorCode)) }, broker)
    }
  }

  private func receive(_ result: Result<AllocateProducerIdsResponse, ApiError>, _ broker: Broker<Env>) {
    var answered: [(Answer, Result<ProducerID, ApiError>)] = []
    var left: [Answer] = []
    self.state.withLock { state in
      if case .success(let block) = result {
        (state.next, state.end) = (block.producerIdStart, block.producerIdStart + Int64(block.producerIdLen))
      }
      for answer in state.waiting {
        switch result {
        case .failure(let error): answered.append((answer, .failure(error)))
        case .success where state.next < state.end:
          answered.append((answer, .success(ProducerID(state.next))))
          state.next += 1
        case .success: left.append(answer)
        }
      }
      state.waiting = []
    }
    for (answer, outcome) in answered { answer(outcome) }
    // More waited than the block holds.
    for answer in left { self.take(from: broker, answer: answer) }
  }
}

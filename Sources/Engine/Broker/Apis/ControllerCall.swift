import Base
import Controller
import Environment
import Metadata
import Model
import Synchronization

/// A request that the controller decides, with a deadline: answered once, by whichever comes first.
final class ControllerCall<Env: Environment, Value: Sendable>: Expirable {
  private struct State: Sendable {
    var answer: (@Sendable (Result<Value, ApiError>) -> Void)?
    var deadline: DeadlineQueue<Env>.Handle?
  }
  private let deadlines: DeadlineQueue<Env>
  private let state: Mutex<State>

  init(deadlines: DeadlineQueue<Env>, answer: @escaping @Sendable (Result<Value, ApiError>) -> Void) {
    self.deadlines = deadlines
    self.state = Mutex(State(answer: answer))
  }

  func start(timeout: Duration, now: Instant) {
    let handle = self.deadlines.add(self, deadline: now + timeout)
    let isOver = self.state.withLock { state in
      state.deadline = handle
      return state.answer == nil
    }
    if isOver { self.deadlines.cancel(handle) }
  }

  func complete(_ result: Result<Value, ApiError>) {
    let (answer, deadline) = self.state.withLock { state in
      defer { state.answer = nil }
      return (state.answer, state.deadline)
    }
    if let deadline { self.deadlines.cancel(deadline) }
    answer?(result)
  }

  func expire() {
    self.complete(.failure(ApiError(.requestTimedOut, "The controller did not answer in time. What was asked for may still happen.")))
  }
}

extension Broker {
  /// Has this node's controller decide `request`, and answers with what became of it, at the latest after `timeout`.
  func decide<Request: ControllerRequest>(
    _ request: Request, for exchange: Exchange<Env.Disk.File>, timeoutMs: Int32,
    answer: @escaping @Sendable (Result<Request.Response, ApiError>) -> Void
  ) {
    let call = ControllerCall<Env, Request.Response>(deadlines: self.deadlines) { result in
      if case .failure(let error) = result { Self.noteNotController(error, exchange) }
      answer(result)
    }
    call.start(timeout: .milliseconds(Int64(max(0, timeoutMs))), now: self.environment.now())
    self.controller.submit(request) { call.complete($0) }
  }

  /// Whoever passed the request on is told as much, and tries another node.
  static func noteNotController(_ error: ApiError, _ exchange: Exchange<Env.Disk.File>) {
    if error.code == .notController { (exchange.reply.sink as? CapturedReply<Env.Disk.File>)?.noteNotController() }
  }
}

import Base
import Environment
import Model
import Peers
import Wire

/// A request to the active controller that is sent again until one decides it, or its time is over. What a controller did that is gone
/// before it could answer may be done twice, or be refused as done already: as with Kafka's brokers.
final class RepeatedCall<Env: Environment, Request: ApiRequest>: Sendable {
  private let channel: any ControllerChannel
  private let environment: Env
  private let request: Request
  private let deadline: Instant
  private let isUndecided: @Sendable (Request.Response) -> Bool
  private let answer: @Sendable (Result<Request.Response, ApiError>) -> Void

  /// - Parameters:
  ///   - isUndecided: the answer says that its author is not the controller.
  ///   - answer: called once, with REQUEST_TIMED_OUT where nobody decided.
  init(
    _ request: Request, timeout: Duration, channel: any ControllerChannel, environment: Env,
    isUndecided: @escaping @Sendable (Request.Response) -> Bool,
    answer: @escaping @Sendable (Result<Request.Response, ApiError>) -> Void
  ) {
    (self.channel, self.environment, self.request) = (channel, environment, request)
    self.deadline = environment.now() + timeout
    (self.isUndecided, self.answer) = (isUndecided, answer)
  }

  func start() { self.attempt(number: 0) }

  private func attempt(number: Int) {
    let left = self.deadline - self.environment.now()
    guard left > .zero else {
      let message = "No controller has answered in time. What was asked for may still happen."
      return self.answer(.failure(ApiError(.requestTimedOut, message)))
    }
    self.channel.call(self.request, timeout: left) { result in
      switch result {
      case .success(let response) where !self.isUndecided(response): self.answer(.success(response))
      case .failure(.unsupported(let key)):
        self.answer(.failure(ApiError(.unsupportedVersion, "The active controller does not serve \(key.name).")))
      case .success, .failure: self.pause(number: number)
      }
    }
  }

  /// An election takes a few hundred milliseconds.
  private func pause(number: Int) {
    let pause = Duration.milliseconds(10 << min(number, 3))
    let left = max(.zero, self.deadline - self.environment.now())
    _ = self.environment.schedule(after: min(pause, left)) { self.attempt(number: number + 1) }
  }
}

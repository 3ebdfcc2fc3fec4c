import Environment
import Metadata
import Model
import Wire

// IncrementalAlterConfigs (KIP-339) and the older AlterConfigs: decided by the controller.
extension Broker {
  func handleIncrementalAlterConfigs(_ exchange: Exchange<Env.Disk.File>, _ request: IncrementalAlterConfigsRequest) {
    // Decided here: what is refused, and the log levels, which are this process's own. The rest is the controller's.
    var settled: [(place: Int, ApiError?)] = []
    var resources: [IncrementalAlterConfigs.Resource] = []
    for (place, asked) in request.resources.enumerated() {
      do throws(ApiError) {
        if ConfigResource.Kind(rawValue: asked.resourceType) == .brokerLogger {
          try self.alterLogLevels(asked, validateOnly: request.validateOnly, clientID: exchange.clientID)
          settled.append((place, nil))
          continue
        }
        let resource = try self.resource(asked.resourceType, asked.resourceName)
        var changes: [IncrementalAlterConfigs.Change] = []
        for config in asked.configs {
          guard let operation = IncrementalAlterConfigs.Operation(rawValue: config.configOperation) else {
            throw ApiError(.invalidRequest, "Operation \(config.configOperation) on \(config.name) is not known.")
          }
          changes.append(.init(config.name, operation, config.value))
        }
        resources.append(.init(resource, changes))
      } catch {
        settled.append((place, error))
      }
    }
    let named = request.resources.map { ($0.resourceType, $0.resourceName) }
    let decision = IncrementalAlterConfigs(resources, validateOnly: request.validateOnly)
    self.decide(decision, for: exchange, timeoutMs: Self.alterConfigsTimeoutMs) { [settled] result in
      var response = IncrementalAlterConfigsResponse()
      response.responses = Self.merge(named, settled, result).map { outcome, type, name in
        .init(errorCode: outcome.code, errorMessage: outcome.message, resourceType: type, resourceName: name)
      }
      exchange.respond(response)
    }
  }

  static func concernsLogLevels(_ request: IncrementalAlterConfigsRequest) -> Bool {
    request.resources.contains { ConfigResource.Kind(rawValue: $0.resourceType) == .brokerLogger }
  }

  /// Log levels are settled here, and the controller is asked about the rest.
  func alterHereAndForward(_ exchange: Exchange<Env.Disk.File>, _ request: IncrementalAlterConfigsRequest) {
    var outcomes = [IncrementalAlterConfigsResponse.AlterConfigsResourceResponse?](repeating: nil, count: request.resources.count)
    var rest = IncrementalAlterConfigsRequest(validateOnly: request.validateOnly)
    for (place, asked) in request.resources.enumerated() {
      guard ConfigResource.Kind(rawValue: asked.resourceType) == .brokerLogger else {
        rest.resources.append(asked)
        continue
      }
      var outcome = IncrementalAlterConfigsResponse.AlterConfigsResourceResponse(
        errorCode: .none, errorMessage: nil, resourceType: asked.resourceType, resourceName: asked.resourceName)
      do throws(ApiError) {
        try self.alterLogLevels(asked, validateOnly: request.validateOnly, clientID: exchange.clientID)
      } catch {
        (outcome.errorCode, outcome.errorMessage) = (error.code, error.message)
      }
      outcomes[place] = outcome
    }
    typealias Outcome = IncrementalAlterConfigsResponse.AlterConfigsResourceResponse
    let finish: @Sendable ([Outcome]) -> Void = { [outcomes] decided in
      var decided = decided.makeIterator()
      var response = IncrementalAlterConfigsResponse()
      response.responses = outcomes.compactMap { $0 ?? decided.next() }
      exchange.respond(response)
    }
    if rest.resources.isEmpty { return finish([]) }
    self.askController(
      rest, timeout: .milliseconds(Int64(Self.alterConfigsTimeoutMs)),
      isUndecided: { $0.responses.contains { $0.errorCode == .notController } }
    ) { [rest] result in
      switch result {
      case .success(let response): finish(response.responses)
      case .failure(let error):
        finish(
          rest.resources.map {
            Outcome(
              errorCode: error.code, errorMessage: error.message, resourceType: $0.resourceType, resourceName: $0.resourceName)
          })
      }
    }
  }

  func handleAlterConfigs(_ exchange: Exchange<Env.Disk.File>, _ request: AlterConfigsRequest) {
    var settled: [(place: Int, ApiError?)] = []
    var resources: [AlterConfigs.Resource] = []
    for (place, asked) in request.resources.enumerated() {
      do throws(ApiError) {
        let resource = try self.resource(asked.resourceType, asked.resourceName)
        resources.append(.init(resource, asked.configs.map { .init(name: $0.name, value: $0.value) }))
      } catch {
        settled.append((place, error))
      }
    }
    let named = request.resources.map { ($0.resourceType, $0.resourceName) }
    let decision = AlterConfigs(resources, validateOnly: request.validateOnly)
    self.decide(decision, for: exchange, timeoutMs: Self.alterConfigsTimeoutMs) { [settled] result in
      var response = AlterConfigsResponse()
      response.responses = Self.merge(named, settled, result).map { outcome, type, name in
        .init(errorCode: outcome.code, errorMessage: outcome.message, resourceType: type, resourceName: name)
      }
      exchange.respond(response)
    }
  }

  /// Neither request carries a timeout; this is what Kafka's clients wait for an answer.
  private static var alterConfigsTimeoutMs: Int32 { 30_000 }

  private func resource(_ type: Int8, _ name: String) throws(ApiError) -> ConfigResource {
    switch ConfigResource.Kind(rawValue: type) {
    case .topic: return .topic(name)
    case .broker:
      if !name.isEmpty, Int32(name) == nil { throw ApiError(.invalidRequest, "Broker id '\(name)' is not a number.") }
      return ConfigResource(.broker, name)
    case .brokerLogger:
      throw ApiError(.invalidRequest, "Log levels are changed by IncrementalAlterConfigs, not by AlterConfigs (KIP-412).")
    case .group: throw ApiError(.invalidRequest, "This version serves no groups: configs of group \(name) would have no effect.")
    case .clientMetrics:
      throw ApiError(.invalidRequest, "This version takes no clients' metrics: subscription \(name) would have no effect.")
    case nil: throw ApiError(.invalidRequest, "Resource type \(type) is not known.")
    }
  }

  /// One answer per resource in the order of the request: those settled here, and what the controller says of the others.
  private static func merge(
    _ named: [(Int8, String)], _ settled: [(place: Int, ApiError?)], _ result: Result<[AlterConfigsResult], ApiError>
  ) -> [((code: ErrorCode, message: String?), Int8, String)] {
    var outcomes = [(code: ErrorCode, message: String?)?](repeating: nil, count: named.count)
    for (place, error) in settled { outcomes[place] = (error?.code ?? .none, error?.message) }
    var decided: [ApiError?] = []
    if case .success(let results) = result { decided = results.map(\.error) }
    var next = 0
    for place in outcomes.indices where outcomes[place] == nil {
      switch result {
      case .success:
        outcomes[place] = next < decided.count ? (decided[next]?.code ?? .none, decided[next]?.message) : (.unknownServerError, nil)
        next += 1
      case .failure(let error): outcomes[place] = (error.code, error.message)
      }
    }
    return zip(outcomes, named).map { ($0 ?? (.unknownServerError, nil), $1.0, $1.1) }
  }
}

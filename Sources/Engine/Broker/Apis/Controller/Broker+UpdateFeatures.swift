import Controller
import Environment
import Metadata
import Model
import Raft
import Wire

// UpdateFeatures (KIP-584). `kraft.version` is the quorum's own (KIP-853): what is asked for is checked as a whole, the quorum is raised,
// and then the rest is written.
extension Broker {
  func handleUpdateFeatures(_ exchange: Exchange<Env.Disk.File>, _ request: UpdateFeaturesRequest) {
    let updates = request.featureUpdates.map { update in
      let type: Metadata.UpdateFeatures.UpgradeType = update.allowDowngrade ? .safeDowngrade : .upgrade
      return Metadata.UpdateFeatures.Update(
        update.feature, update.maxVersionLevel, exchange.version >= 1 ? update.upgradeType : type.rawValue)
    }
    let decision = Metadata.UpdateFeatures(
      updates, validateOnly: request.validateOnly, kraftVersion: self.controller.quorum.machine.log.version.rawValue)
    guard !request.validateOnly, updates.contains(where: { $0.name == KRaftVersion.feature }) else {
      return self.decideFeatures(decision, exchange, request)
    }
    var check = decision
    check.validateOnly = true
    let raised = updates.first { $0.name == KRaftVersion.feature }.map { KRaftVersion(rawValue: $0.level) } ?? .staticVoters
    self.decide(check, for: exchange, timeoutMs: request.timeoutMs) { result in
      if case .failure(let error) = result {
        return exchange.respond(request.refusal(error.code, message: error.message, version: exchange.version))
      }
      self.controller.quorum.raiseVersion(to: raised) { error in
        if let error {
          Self.noteNotController(error, exchange)
          return exchange.respond(request.refusal(error.code, message: error.message, version: exchange.version))
        }
        var rest = decision
        rest.kraftVersion = raised.rawValue
        self.decideFeatures(rest, exchange, request)
      }
    }
  }

  private func decideFeatures(
    _ decision: Metadata.UpdateFeatures, _ exchange: Exchange<Env.Disk.File>, _ request: UpdateFeaturesRequest
  ) {
    self.decide(decision, for: exchange, timeoutMs: request.timeoutMs) { result in
      switch result {
      case .failure(let error):
        exchange.respond(request.refusal(error.code, message: error.message, version: exchange.version))
      case .success:
        var response = UpdateFeaturesResponse(errorCode: .none, errorMessage: nil)
        response.results = request.featureUpdates.map { .init(feature: $0.feature, errorCode: .none, errorMessage: nil) }
        exchange.respond(response)
      }
    }
  }
}

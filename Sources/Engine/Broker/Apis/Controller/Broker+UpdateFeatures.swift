import Controller
import Environment
import Metadata
import Model
import Raft
import Wire

// UpdateFeatures (KIP-584).
extension Broker {
  func handleUpdateFeatures(_ exchange: Exchange<Env.Disk.File>, _ request: UpdateFeaturesRequest) {
    let updates = request.featureUpdates.map { update in
      let type: Metadata.UpdateFeatures.UpgradeType = update.allowDowngrade ? .safeDowngrade : .upgrade
      return Metadata.UpdateFeatures.Update(
        update.feature, update.maxVersionLevel, exchange.version >= 1 ? update.upgradeType : type.rawValue)
    }
    // The quorum cannot be raised while it runs, so that nothing but its present level is taken.
    let level = self.controller.quorum.machine.log.version.rawValue
    let decision = Metadata.UpdateFeatures(
      updates, validateOnly: request.validateOnly, kraftVersion: level, kraftVersions: level...level)
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

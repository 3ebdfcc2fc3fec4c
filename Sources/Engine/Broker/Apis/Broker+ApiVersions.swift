import Controller
import Environment
import Metadata
import Model
import Raft
import Wire

// ApiVersions (KIP-35, KIP-511, KIP-584): the first request of every client.
extension Broker {
  func handleApiVersions(_ exchange: Exchange<Env.Disk.File>, _ request: ApiVersionsRequest) {
    if exchange.version >= 3, !Self.isValidSoftware(request.clientSoftwareName) || !Self.isValidSoftware(request.clientSoftwareVersion) {
      return exchange.respond(self.apiVersionsResponse(.invalidRequest, version: exchange.version, exchange.client.role))
    }
    exchange.respond(self.apiVersionsResponse(.none, version: exchange.version, exchange.client.role))
  }

  /// A version newer than ours: the client learns which there are, in the version that everybody reads.
  func refuseApiVersions(_ exchange: Exchange<Env.Disk.File>) {
    exchange.respond(self.apiVersionsResponse(.unsupportedVersion, version: 0, exchange.client.role), version: 0)
  }

  private func apiVersionsResponse(_ error: ErrorCode, version: Int16, _ role: ListenerRole) -> ApiVersionsResponse {
    var response = ApiVersionsResponse(errorCode: error)
    if error == .invalidRequest { return response }
    response.apiKeys = ServedApis.all(for: role).map {
      .init(apiKey: $0.key.rawValue, minVersion: $0.advertisedMin, maxVersion: $0.versions.upperBound)
    }
    if error != .none { return response }
    let image = self.catalog.image
    // Clients of the versions before 4 do not take a range that begins at 0.
    let all = role == .controller ? SupportedFeatures.all + [KRaftVersion.supported] : SupportedFeatures.all
    let features = all.filter { version >= 4 || $0.versions.lowerBound > 0 }
    response.supportedFeatures = features.map {
      .init(name: $0.name, minVersion: $0.versions.lowerBound, maxVersion: $0.versions.upperBound)
    }
    response.finalizedFeatures = image.features.map { .init(name: $0.name, maxVersionLevel: $0.level, minVersionLevel: $0.level) }
    // The level of the quorum is in its log's own records.
    let kraft = self.controller.quorum.machine.log.version.rawValue
    if kraft > 0 {
      response.finalizedFeatures.append(.init(name: KRaftVersion.feature, maxVersionLevel: kraft, minVersionLevel: kraft))
    }
    response.brokerIncarnationId = self.incarnationID
    response.finalizedFeaturesEpoch = max(0, image.offset.rawValue)
    return response
  }

  /// KIP-511: letters and digits, and dots and dashes between them.
  private static func isValidSoftware(_ text: String) -> Bool {
    func isWord(_ byte: UInt8) -> Bool {
      switch byte {
      case UInt8(ascii: "0")...UInt8(ascii: "9"), UInt8(ascii: "a")...UInt8(ascii: "z"), UInt8(ascii: "A")...UInt8(ascii: "Z"): true
      default: false
      }
    }
    guard let first = text.utf8.first, let last = text.utf8.last, isWord(first), isWord(last) else { return false }
    return text.utf8.allSatisfy { isWord($0) || $0 == UInt8(ascii: ".") || $0 == UInt8(ascii: "-") }
  }
}

import Model
package import Wire

extension VersionTable {
  /// The highest version that both sides speak and that is not above `limit`. Throws `.unsupportedVersion` if there is none.
  package func version<Request: ApiRequest>(of request: Request.Type, notAbove limit: Int16 = .max) throws(KafkaError) -> Int16 {
    if let version = self.commonVersion(of: request, notAbove: limit) { return version }
    guard let theirs = self.range(of: Request.apiKey.rawValue) else {
      throw KafkaError(.unsupportedVersion, "the broker does not serve \(Request.self)")
    }
    let ours = Request.supportedVersions
    throw KafkaError(.unsupportedVersion, """
      no common version of \(Request.self): the broker speaks \(theirs.lowerBound) to \(theirs.upperBound), \
      this client \(ours.lowerBound) to \(min(ours.upperBound, limit))
      """)
  }
}

import Model
package import Wire

/// Which versions of each request one broker speaks, as it said in its answer to ApiVersions.
package struct VersionTable: Sendable, Hashable {
  private var ranges: [Int16: ClosedRange<Int16>] = [:]

  package init() {}

  package init(_ response: ApiVersionsResponse) {
    for entry in response.apiKeys where entry.minVersion <= entry.maxVersion {
      self.ranges[entry.apiKey] = entry.minVersion...entry.maxVersion
    }
  }

  /// The broker's range for the request with the number `apiKey`, or nil if it does not serve it.
  package func range(of apiKey: Int16) -> ClosedRange<Int16>? { self.ranges[apiKey] }

  /// The highest version that both sides speak and that is not above `limit`. Throws `.unsupportedVersion` if there is none.
  package func version<Request: ApiRequest>(of request: Request.Type, notAbove limit: Int16 = .max) throws(KafkaError) -> Int16 {
    let ours = Request.supportedVersions
    guard let theirs = self.ranges[Request.apiKey.rawValue] else {
      throw KafkaError(.unsupportedVersion, "the broker does not serve \(Request.self)")
    }
    let version = min(ours.upperBound, theirs.upperBound, limit)
    guard version >= ours.lowerBound, version >= theirs.lowerBound else {
      throw KafkaError(.unsupportedVersion, """
        no common version of \(Request.self): the broker speaks \(theirs.lowerBound) to \(theirs.upperBound), \
        this client \(ours.lowerBound) to \(min(ours.upperBound, limit))
        """)
    }
    return version
  }
}

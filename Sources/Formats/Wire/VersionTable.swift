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

  /// The highest version that both sides speak and that is not above `limit`, or nil if there is none.
  package func commonVersion<Request: ApiRequest>(of request: Request.Type, notAbove limit: Int16 = .max) -> Int16? {
    guard let theirs = self.ranges[Request.apiKey.rawValue] else { return nil }
    let version = min(Request.supportedVersions.upperBound, theirs.upperBound, limit)
    return version >= Request.supportedVersions.lowerBound && version >= theirs.lowerBound ? version : nil
  }
}

import Wire

/// What this broker serves, and so what ApiVersions lists: an API is here when every listed version works, and not before. Clients use
/// whatever is listed.
enum ServedApis {
  struct Entry: Sendable {
    var key: ApiKey
    /// Versions that are served.
    var versions: ClosedRange<Int16>
    /// The lowest version that ApiVersions tells.
    var advertisedMin: Int16
  }

  /// In the order of the keys.
  static let all: [Entry] = [
    // Kafka 4 tells 0 as well, though it refuses v0 to v2: librdkafka takes a higher minimum for a broker without produce (KIP-896).
    entry(ProduceRequest.self, advertisedMin: 0),
    entry(FetchRequest.self),
    entry(ListOffsetsRequest.self),
    entry(MetadataRequest.self),
    entry(ApiVersionsRequest.self),
    entry(CreateTopicsRequest.self),
    entry(DeleteTopicsRequest.self),
    entry(DeleteRecordsRequest.self),
    entry(InitProducerIdRequest.self),
    entry(OffsetForLeaderEpochRequest.self),
    entry(DescribeConfigsRequest.self),
    entry(AlterConfigsRequest.self),
    entry(DescribeLogDirsRequest.self),
    entry(CreatePartitionsRequest.self),
    entry(IncrementalAlterConfigsRequest.self),
    entry(DescribeClusterRequest.self),
    entry(ListConfigResourcesRequest.self),
    entry(DescribeTopicPartitionsRequest.self),
  ]

  private static func entry<Request: ApiRequest>(_: Request.Type, advertisedMin: Int16? = nil) -> Entry {
    let versions = Request.supportedVersions
    return Entry(key: Request.apiKey, versions: versions, advertisedMin: advertisedMin ?? versions.lowerBound)
  }

  /// By the key's number, nil where it is not served.
  private static let byKey: [ClosedRange<Int16>?] = {
    var ranges = [ClosedRange<Int16>?](repeating: nil, count: Int(ApiKey.allCases.map(\.rawValue).max() ?? 0) + 1)
    for entry in Self.all { ranges[Int(entry.key.rawValue)] = entry.versions }
    return ranges
  }()

  static func versions(of key: ApiKey) -> ClosedRange<Int16>? { Self.byKey[Int(key.rawValue)] }
}

/// The APIs of which this broker knows the form, served or not, and so can answer that they are not.
enum KnownApis {
  /// By the key's number.
  private static let byKey: [(any ApiRequest.Type)?] = {
    var requests = [(any ApiRequest.Type)?](repeating: nil, count: Int(ApiKey.allCases.map(\.rawValue).max() ?? 0) + 1)
    for request in WireCatalog.requests { requests[Int(request.apiKey.rawValue)] = request }
    return requests
  }()

  static func request(_ key: ApiKey) -> (any ApiRequest.Type)? { Self.byKey[Int(key.rawValue)] }
}

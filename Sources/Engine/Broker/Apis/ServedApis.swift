import Wire

/// What each kind of listener serves, and so what ApiVersions lists there: an API is here when every listed version works, and not
/// before. Clients use whatever is listed.
enum ServedApis {
  struct Entry: Sendable {
    var key: ApiKey
    /// Versions that are served.
    var versions: ClosedRange<Int16>
    /// The lowest version that ApiVersions tells.
    var advertisedMin: Int16
    /// The active controller serves it, for whatever broker was asked.
    var isForwarded = false
  }

  static func all(for role: ListenerRole) -> [Entry] {
    switch role {
    case .broker: Self.brokers
    case .controller: Self.controllers
    }
  }

  /// In the order of the keys.
  private static let brokers: [Entry] = [
    // Kafka 4 tells 0 as well, though it refuses v0 to v2: librdkafka takes a higher minimum for a broker without produce (KIP-896).
    entry(ProduceRequest.self, advertisedMin: 0),
    entry(FetchRequest.self),
    entry(ListOffsetsRequest.self),
    entry(MetadataRequest.self),
    entry(ApiVersionsRequest.self),
    forwarded(CreateTopicsRequest.self),
    forwarded(DeleteTopicsRequest.self),
    entry(DeleteRecordsRequest.self),
    entry(InitProducerIdRequest.self),
    entry(OffsetForLeaderEpochRequest.self),
    entry(DescribeConfigsRequest.self),
    forwarded(AlterConfigsRequest.self),
    entry(DescribeLogDirsRequest.self),
    forwarded(CreatePartitionsRequest.self),
    forwarded(ElectLeadersRequest.self),
    forwarded(IncrementalAlterConfigsRequest.self),
    forwarded(AlterPartitionReassignmentsRequest.self),
    forwarded(ListPartitionReassignmentsRequest.self),
    forwarded(DescribeQuorumRequest.self),
    forwarded(UpdateFeaturesRequest.self),
    // Of Apus: tools read the metadata log from any node.
    entry(FetchSnapshotRequest.self),
    entry(DescribeClusterRequest.self),
    forwarded(UnregisterBrokerRequest.self),
    entry(ListConfigResourcesRequest.self),
    entry(DescribeTopicPartitionsRequest.self),
    forwarded(AddRaftVoterRequest.self),
    forwarded(RemoveRaftVoterRequest.self),
    entry(GetReplicaLogInfoRequest.self),
  ]

  private static let controllers: [Entry] = [
    entry(FetchRequest.self),
    entry(ApiVersionsRequest.self),
    entry(CreateTopicsRequest.self),
    entry(DeleteTopicsRequest.self),
    entry(DescribeConfigsRequest.self),
    entry(AlterConfigsRequest.self),
    entry(CreatePartitionsRequest.self),
    entry(ElectLeadersRequest.self),
    entry(IncrementalAlterConfigsRequest.self),
    entry(AlterPartitionReassignmentsRequest.self),
    entry(ListPartitionReassignmentsRequest.self),
    entry(VoteRequest.self),
    entry(BeginQuorumEpochRequest.self),
    entry(EndQuorumEpochRequest.self),
    entry(DescribeQuorumRequest.self),
    entry(AlterPartitionRequest.self),
    entry(UpdateFeaturesRequest.self),
    entry(EnvelopeRequest.self),
    entry(FetchSnapshotRequest.self),
    entry(DescribeClusterRequest.self),
    entry(BrokerRegistrationRequest.self),
    entry(BrokerHeartbeatRequest.self),
    entry(UnregisterBrokerRequest.self),
    entry(AllocateProducerIdsRequest.self),
    entry(AssignReplicasToDirsRequest.self),
    entry(AddRaftVoterRequest.self),
    entry(RemoveRaftVoterRequest.self),
    entry(UpdateRaftVoterRequest.self),
  ]

  private static func entry<Request: ApiRequest>(_: Request.Type, advertisedMin: Int16? = nil) -> Entry {
    let versions = Request.supportedVersions
    return Entry(key: Request.apiKey, versions: versions, advertisedMin: advertisedMin ?? versions.lowerBound)
  }

  private static func forwarded<Request: ApiRequest>(_: Request.Type) -> Entry {
    var entry = Self.entry(Request.self)
    entry.isForwarded = true
    return entry
  }

  /// By the key's number, nil where it is not served.
  private static let brokersByKey = Self.index(Self.brokers)
  private static let controllersByKey = Self.index(Self.controllers)

  private static func index(_ entries: [Entry]) -> [Entry?] {
    var table = [Entry?](repeating: nil, count: Int(ApiKey.allCases.map(\.rawValue).max() ?? 0) + 1)
    for entry in entries { table[Int(entry.key.rawValue)] = entry }
    return table
  }

  static func entry(_ key: ApiKey, for role: ListenerRole) -> Entry? {
    switch role {
    case .broker: Self.brokersByKey[Int(key.rawValue)]
    case .controller: Self.controllersByKey[Int(key.rawValue)]
    }
  }

  static func versions(of key: ApiKey, for role: ListenerRole = .broker) -> ClosedRange<Int16>? { Self.entry(key, for: role)?.versions }
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

import Broker
import Model
import NIOCore
import Testing
import VirtualWorld
import Wire

@Suite("Routing and ApiVersions")
struct ApiVersionsTests {
  /// What Apache Kafka 4.2 serves of what we serve.
  static let kafka: [ApiKey: ClosedRange<Int16>] = [
    .produce: 0...13, .fetch: 4...18, .listOffsets: 1...11, .metadata: 0...13, .apiVersions: 0...4, .createTopics: 2...7,
    .deleteTopics: 1...6, .deleteRecords: 0...2, .initProducerId: 0...5, .offsetForLeaderEpoch: 2...4, .describeConfigs: 1...4,
    .alterConfigs: 0...2, .describeLogDirs: 1...4, .createPartitions: 0...3, .incrementalAlterConfigs: 0...1, .describeCluster: 0...2,
    .listConfigResources: 0...1, .describeTopicPartitions: 0...0, .electLeaders: 0...2, .alterPartitionReassignments: 0...1,
    .listPartitionReassignments: 0...0, .describeQuorum: 0...2, .updateFeatures: 0...2, .unregisterBroker: 0...0, .addRaftVoter: 0...1,
    .removeRaftVoter: 0...0, .getReplicaLogInfo: 0...0, .fetchSnapshot: 0...1,
  ]

  @Test("Lists exactly what is served, in every version", arguments: Int16(0)...4)
  func ranges(version: Int16) throws {
    let node = try TestNode()
    let response = try node.ask(
      ApiVersionsRequest(clientSoftwareName: "apus-test", clientSoftwareVersion: "1.0"), version: version)
    #expect(response.errorCode == .none)
    #expect(response.apiKeys.count == Self.kafka.count)
    for api in response.apiKeys {
      let key = try #require(ApiKey(rawValue: api.apiKey))
      #expect(Self.kafka[key] == api.minVersion...api.maxVersion, "\(key)")
    }
    // The level 0 of a feature was not foreseen before version 4.
    let features = ["eligible.leader.replicas.version", "metadata.version"]
    #expect(response.supportedFeatures.map(\.name) == (version >= 4 ? features : version == 3 ? ["metadata.version"] : []))
    #expect(response.finalizedFeatures.map(\.name) == (version >= 3 ? features : []))
  }

  @Test("A newer version is answered in version 0, with the ranges")
  func tooNew() throws {
    let node = try TestNode()
    // A future version's body is not read, so it may hold anything.
    var writer = WireWriter()
    RequestHeader(.apiVersions, version: 99, correlationId: 77, clientId: "future").encode(into: &writer)
    writer.writeInteger(UInt64.max)
    let (sink, slot) = node.send(raw: writer.buffer)
    let pending = Pending<ApiVersionsResponse>(sink: sink, slot: slot, version: 0, responseKey: .apiVersions)
    let response = try #require(try pending.response())
    #expect(response.errorCode == .unsupportedVersion)
    #expect(response.apiKeys.count == Self.kafka.count)
  }

  @Test("Software names and versions that are no words are refused", arguments: ["", "-x", "a b", "a_", "é"])
  func software(name: String) throws {
    let node = try TestNode()
    #expect(try node.ask(ApiVersionsRequest(clientSoftwareName: name, clientSoftwareVersion: "1")).errorCode == .invalidRequest)
    #expect(try node.ask(ApiVersionsRequest(clientSoftwareName: "x", clientSoftwareVersion: name)).errorCode == .invalidRequest)
  }

  @Test("Unknown keys, versions that are not served and broken bodies close the connection, and nobody else's")
  func refusals() throws {
    let node = try TestNode()
    func closeReason(_ frame: ByteBuffer) -> String? {
      let client = node.connect()
      _ = node.send(raw: frame, from: client)
      return client.sink.closeReason
    }
    func frame(_ key: Int16, _ version: Int16, _ body: [UInt8] = []) -> ByteBuffer {
      var buffer = ByteBuffer()
      buffer.writeInteger(key)
      buffer.writeInteger(version)
      buffer.writeInteger(Int32(77))
      buffer.writeInteger(Int16(-1))
      buffer.writeBytes(body)
      return buffer
    }
    #expect(closeReason(ByteBuffer())?.contains("header") == true)
    #expect(closeReason(frame(999, 0)) != nil)
    #expect(closeReason(frame(-1, 0)) != nil)
    #expect(closeReason(frame(ApiKey.fetch.rawValue, 3))?.contains("not served") == true)
    #expect(closeReason(frame(ApiKey.fetch.rawValue, 99, [0])) != nil)
    #expect(closeReason(frame(ApiKey.vote.rawValue, 0, [0])) != nil)
    #expect(closeReason(frame(ApiKey.metadata.rawValue, 1))?.contains("Metadata") == true)
    #expect(closeReason(frame(ApiKey.metadata.rawValue, 1, [0x7F, 0xFF, 0xFF, 0xFF])) != nil, "a count that cannot be")
    #expect(closeReason(frame(ApiKey.metadata.rawValue, 1, [0xFF, 0xFF, 0xFF, 0xFF, 0])) == nil, "bytes behind it are not read")
    #expect(closeReason(frame(ApiKey.metadata.rawValue, 1, [0xFF, 0xFF, 0xFF, 0xFF])) == nil)
    #expect(node.events.contains { if case .connectionRefused = $0 { true } else { false } })
    #expect(node.client.sink.closeReason == nil)
    #expect(try node.ask(MetadataRequest(topics: nil)).brokers.count == 1)
  }

  @Test("Produce before v3 is refused in its own form", arguments: Int16(0)...2)
  func legacyProduce(version: Int16) throws {
    let node = try TestNode()
    try node.createTopic("t")
    var writer = WireWriter()
    RequestHeader(.produce, version: version, correlationId: 77, clientId: "old").encode(into: &writer)
    writer.writeInteger(Int16(1))
    writer.writeInteger(Int32(1_000))
    writer.writeInteger(Int32(1))
    writer.writeString("t", flexible: false)
    writer.writeInteger(Int32(2))
    for partition in [Int32(0), 5] {
      writer.writeInteger(partition)
      writer.writeBytes(ByteBuffer(bytes: [1, 2, 3]), flexible: false)
    }
    let (sink, slot) = node.send(raw: writer.buffer)
    var reader = WireReader(try #require(try sink.bytes(slot)))
    #expect(try reader.readInteger("", as: Int32.self) == Int32(reader.remaining))
    #expect(try reader.readInteger("", as: Int32.self) == 77)
    #expect(try reader.readInteger("", as: Int32.self) == 1)
    #expect(try reader.readString("", flexible: false) == "t")
    #expect(try reader.readInteger("", as: Int32.self) == 2)
    for partition in [Int32(0), 5] {
      #expect(try reader.readInteger("", as: Int32.self) == partition)
      #expect(try reader.readErrorCode("") == .unsupportedVersion)
      #expect(try reader.readInteger("", as: Int64.self) == -1)
      if version >= 2 { #expect(try reader.readInteger("", as: Int64.self) == -1) }
    }
    if version >= 1 { #expect(try reader.readInteger("", as: Int32.self) == 0) }
    #expect(reader.remaining == 0)
  }

  @Test("Coordinators are refused for good, not for now", arguments: FindCoordinatorRequest.supportedVersions)
  func coordinator(version: Int16) throws {
    let node = try TestNode()
    let response = try node.ask(FindCoordinatorRequest(key: "g", coordinatorKeys: ["g"]), version: version)
    #expect((version >= 4 ? response.coordinators.first?.errorCode : response.errorCode) == .unsupportedVersion)
  }

  @Test("What Kafka knows and is not served here is refused in its own form, in order, and the connection goes on",
    arguments: WireCatalog.requests.map { $0.apiKey }.filter { ApiVersionsTests.kafka[$0] == nil })
  func unserved(key: ApiKey) throws {
    let node = try TestNode()
    let type = try #require(WireCatalog.requests.first { $0.apiKey == key })
    for version in type.supportedVersions { try self.expectRefusal(type, version, node) }
    #expect(node.client.sink.closeReason == nil)
    #expect(!node.events.contains { if case .connectionRefused = $0 { true } else { false } })
    // Versions that Kafka does not know cannot be answered.
    let client = node.connect()
    var writer = WireWriter()
    RequestHeader(key, version: type.supportedVersions.upperBound + 1, correlationId: 7, clientId: "future").encode(into: &writer)
    _ = node.send(raw: writer.buffer, from: client)
    #expect(client.sink.closeReason?.contains("not served") == true)
  }

  private func expectRefusal<Request: ApiRequest>(_: Request.Type, _ version: Int16, _ node: TestNode) throws {
    let refused = node.send(Request(), version: version)
    let behind = node.send(MetadataRequest(topics: nil))
    let response = try #require(try refused.response(), "\(Request.self) v\(version)")
    let expected = Request().refusal(.unsupportedVersion, message: "\(Request.apiKey.name) is not served by this broker.", version: version)
    if Request.apiKey != .findCoordinator {
      let read = try Request.Response(decoding: expected.encoded(version: version).buffer, version: version)
      #expect(response == read, "\(Request.self) v\(version)")
    }
    #expect(try behind.response()?.brokers.count == 1)
  }

  @Test("Each thing that was asked for is refused where a response has no error at its top")
  func unservedItems() throws {
    let node = try TestNode()
    let commit = OffsetCommitRequest(
      groupId: "g", topics: [.init(name: "t", partitions: [.init(partitionIndex: 2), .init(partitionIndex: 5)])])
    let answer = try node.ask(commit, version: 7)
    #expect(answer.topics.map(\.name) == ["t"])
    #expect(answer.topics[0].partitions.map(\.partitionIndex) == [2, 5])
    #expect(answer.topics[0].partitions.map(\.errorCode) == [.unsupportedVersion, .unsupportedVersion])
    #expect(try node.ask(DescribeGroupsRequest(groups: ["g"]), version: 6).groups.map(\.errorMessage) == [
      "DescribeGroups is not served by this broker."
    ])
    #expect(try node.ask(JoinGroupRequest(groupId: "g")).errorCode == .unsupportedVersion)
  }

  @Test("A request that is not served and has too much in it for a refusal of its own closes the connection")
  func largeRefusal() throws {
    let node = try TestNode()
    let groups = Array(repeating: "", count: 100_000)
    let (sink, slot) = node.send(raw: TestNode.frame(DescribeGroupsRequest(groups: groups)))
    #expect(sink.frame(slot) == nil)
    #expect(sink.closeReason?.contains("too many") == true)
  }

  @Test("Random bytes end in an answer or a closed connection", arguments: UInt64(1)...40)
  func garbage(seed: UInt64) throws {
    let node = try TestNode(seed: seed)
    try node.createTopic("t")
    for round in 0..<200 {
      let client = node.connect()
      var frame = ByteBuffer()
      let keys = Self.kafka.keys.sorted { $0.rawValue < $1.rawValue }
      let key = keys[Int(node.environment.entropy() % UInt64(keys.count))]
      let versions = Self.kafka[key]!
      frame.writeInteger(key.rawValue)
      frame.writeInteger(versions.lowerBound + Int16(node.environment.entropy() % UInt64(versions.count)))
      frame.writeInteger(Int32(77))
      frame.writeInteger(Int16(-1))
      let count = Int(node.environment.entropy() % 64)
      // Small numbers make for plausible counts and lengths.
      for _ in 0..<count { frame.writeInteger(UInt8(truncatingIfNeeded: node.environment.entropy() % (round % 2 == 0 ? 256 : 4))) }
      let (sink, slot) = node.send(raw: frame, from: client)
      if sink.frame(slot) == nil, sink.closeReason == nil { node.environment.advance(by: .seconds(3_000_000)) }
      #expect(sink.frame(slot) != nil || sink.closeReason != nil, "\(key): neither answered nor closed")
    }
    #expect(try node.ask(MetadataRequest(topics: nil)).topics.contains { $0.name == "t" })
  }
}

import Controller
import Metadata
import Model
import NIOCore
import Raft
import Testing
import Wire

@testable import Broker

/// What the controller's listener takes, and what it refuses: Kafka's error, told once, and nothing changed.
@Suite struct ControllerApiTests {
  let node: TestNode
  let control: TestClient

  init() throws {
    self.node = try TestNode()
    self.control = TestClient(connectionID: 900, listener: "CONTROLLER", role: .controller)
  }

  private var brokerEpoch: Int64 { self.node.broker.brokerEpoch.rawValue }
  private var clusterID: String { self.node.broker.clusterID }

  private func refusals() -> [(NodeID, String, ErrorCode)] {
    self.node.events.all.compactMap { event in
      if case .controlRequestRefused(_, let node, let api, let error) = event { (node, api, error) } else { nil }
    }
  }

  private func registration(_ id: Int32, clusterID: String? = nil) -> BrokerRegistrationRequest {
    var request = BrokerRegistrationRequest(
      brokerId: id, clusterId: clusterID ?? self.clusterID, incarnationId: KafkaUUID(high: 7, low: UInt64(id)))
    request.listeners = [.init(name: "PLAINTEXT", host: "other", port: 9092, securityProtocol: 0)]
    request.features = SupportedFeatures.all.map {
      .init(name: $0.name, minSupportedVersion: $0.versions.lowerBound, maxSupportedVersion: $0.versions.upperBound)
    }
    request.logDirs = [KafkaUUID(high: 99, low: UInt64(id))]
    return request
  }

  @Test func eachListenerListsWhatItServes() throws {
    let request = ApiVersionsRequest(clientSoftwareName: "test", clientSoftwareVersion: "1")
    let broker = try self.node.ask(request)
    let controller = try self.node.ask(request, from: self.control)
    func keys(_ response: ApiVersionsResponse) -> Set<Int16> { Set(response.apiKeys.map(\.apiKey)) }
    #expect(keys(controller).contains(ApiKey.vote.rawValue))
    #expect(!keys(broker).contains(ApiKey.vote.rawValue))
    #expect(!keys(controller).contains(ApiKey.produce.rawValue))
    #expect(keys(broker).contains(ApiKey.describeQuorum.rawValue))
    #expect(controller.brokerIncarnationId == self.node.broker.incarnationID)
    #expect(controller.supportedFeatures.contains { $0.name == "kraft.version" })
  }

  @Test func aBrokersRequestOnTheWrongListener() throws {
    let onBroker = try self.node.ask(BrokerHeartbeatRequest(brokerId: 1, brokerEpoch: self.brokerEpoch))
    #expect(onBroker.errorCode == .unsupportedVersion)
    let onController = try self.node.ask(ListOffsetsRequest(), from: self.control)
    #expect(onController.topics.isEmpty)
  }

  @Test func aWrongClusterIsRefusedAndToldOnce() throws {
    let before = self.node.broker.controller.image.offset
    for _ in 0..<3 {
      let answer = try self.node.ask(self.registration(2, clusterID: "another"), from: self.control)
      #expect(answer.errorCode == .inconsistentClusterId)
      #expect(answer.brokerEpoch == -1)
    }
    #expect(self.node.broker.controller.image.broker(NodeID(2)) == nil)
    #expect(self.node.broker.controller.image.offset == before)
    #expect(self.refusals().count == 1)
  }

  @Test(arguments: [
    { $0.brokerId = -3 }, { $0.listeners = [] }, { $0.listeners.append($0.listeners[0]) }, { $0.listeners[0].securityProtocol = 77 },
    { $0.features[0].minSupportedVersion = 9; $0.features[0].maxSupportedVersion = 8 }, { $0.logDirs = [] },
    { $0.isMigratingZkBroker = true },
  ] as [@Sendable (inout BrokerRegistrationRequest) -> Void])
  func registrationsThatMakeNoSense(spoil: @Sendable (inout BrokerRegistrationRequest) -> Void) throws {
    var request = self.registration(2)
    spoil(&request)
    #expect(try self.node.ask(request, from: self.control).errorCode == .invalidRegistration)
    #expect(self.node.broker.controller.image.brokers.count == 1)
  }

  @Test func aSecondProcessUnderALivingBrokersID() throws {
    let answer = try self.node.ask(self.registration(1), from: self.control)
    #expect(answer.errorCode == .duplicateBrokerRegistration)
    #expect(self.node.broker.controller.image.broker(NodeID(1))?.epoch.rawValue == self.brokerEpoch)
  }

  @Test func aBrokerRegistersAndBeats() throws {
    let registered = try self.node.ask(self.registration(2), from: self.control)
    #expect(registered.errorCode == .none)
    #expect(registered.brokerEpoch >= 0)
    let behind = try self.node.ask(
      BrokerHeartbeatRequest(brokerId: 2, brokerEpoch: registered.brokerEpoch, currentMetadataOffset: 0), from: self.control)
    #expect(behind.isFenced && !behind.isCaughtUp)
    #expect(behind.sessionTimeoutMs == 2_000_000_000, "the lease follows from what the controller applies")
    let image = self.node.broker.controller.image
    let beat = try self.node.ask(
      BrokerHeartbeatRequest(brokerId: 2, brokerEpoch: registered.brokerEpoch, currentMetadataOffset: image.offset.rawValue),
      from: self.control)
    #expect(!beat.isFenced && beat.isCaughtUp)
    #expect(self.node.broker.controller.image.broker(NodeID(2))?.isFenced == false)
  }

  @Test func forgedAndStaleHeartbeats() throws {
    let image = self.node.broker.controller.image
    let stale = try self.node.ask(
      BrokerHeartbeatRequest(brokerId: 1, brokerEpoch: self.brokerEpoch - 1, currentMetadataOffset: 1, wantFence: true), from: self.control)
    #expect(stale.errorCode == .staleBrokerEpoch)
    let unknown = try self.node.ask(BrokerHeartbeatRequest(brokerId: 77, brokerEpoch: 3, wantShutDown: true), from: self.control)
    #expect(unknown.errorCode == .staleBrokerEpoch)
    #expect(self.node.broker.controller.image.offset == image.offset, "nothing was written")
    #expect(self.refusals().map(\.2) == [.staleBrokerEpoch, .staleBrokerEpoch])
  }

  @Test func alterPartitionOfWhoIsNotTheLeader() throws {
    let topic = try self.node.createTopic("a")
    var request = AlterPartitionRequest(brokerId: 1, brokerEpoch: self.brokerEpoch - 1)
    request.topics = [
      .init(
        topicId: topic,
        partitions: [
          .init(partitionIndex: 0, leaderEpoch: 0, newIsrWithEpochs: [.init(brokerId: 1, brokerEpoch: -1)], partitionEpoch: 0),
          .init(partitionIndex: 9, leaderEpoch: 0, newIsrWithEpochs: [.init(brokerId: 1, brokerEpoch: -1)], partitionEpoch: 0),
        ])
    ]
    #expect(try self.node.ask(request, from: self.control).errorCode == .staleBrokerEpoch)
    request.brokerEpoch = self.brokerEpoch
    let answer = try self.node.ask(request, from: self.control)
    #expect(answer.errorCode == .none)
    #expect(answer.topics[0].partitions.map(\.partitionIndex) == [0, 9])
    #expect(answer.topics[0].partitions[1].errorCode == .unknownTopicOrPartition)
  }

  @Test func votesForAnotherCluster() throws {
    var request = VoteRequest(clusterId: "another", voterId: 1)
    request.topics = [
      .init(topicName: "__cluster_metadata", partitions: [.init(partitionIndex: 0, replicaEpoch: 99, replicaId: 5, lastOffset: 0)])
    ]
    let term = self.node.broker.controller.quorum.machine.hardState.term
    #expect(try self.node.ask(request, from: self.control).errorCode == .inconsistentClusterId)
    #expect(self.node.broker.controller.quorum.machine.hardState.term == term)
    request.topics[0].topicName = "other"
    #expect(try self.node.ask(request, from: self.control).errorCode == .invalidRequest)
  }

  @Test func whatIsNotTheMetadataLogIsNotFetchedHere() throws {
    var request = FetchRequest(maxWaitMs: 0, minBytes: 0)
    request.topics = [.init(topicId: KafkaUUID(high: 3, low: 4), partitions: [.init(partition: 0, fetchOffset: 0, partitionMaxBytes: 100)])]
    let answer = try self.node.ask(request, from: self.control)
    #expect(answer.errorCode == .unknownTopicOrPartition || answer.responses.first?.partitions.first?.errorCode == .unknownTopicOrPartition)
  }

  // MARK: - Envelopes

  private func envelope(_ inner: ByteBuffer, principal: ByteBuffer? = ByteBuffer(bytes: [0, 0])) -> EnvelopeRequest {
    EnvelopeRequest(requestData: inner, requestPrincipal: principal, clientHostAddress: ByteBuffer(bytes: [127, 0, 0, 1]))
  }

  @Test func anEnvelopesContentIsServedAsIfItHadComeAlone() throws {
    let inner = TestNode.frame(
      CreateTopicsRequest(topics: [.init(name: "made", numPartitions: 2, replicationFactor: 1)], timeoutMs: 1000), version: 5)
    let answer = try self.node.ask(self.envelope(inner), from: self.control)
    #expect(answer.errorCode == .none)
    let response = try RequestFrame.decodeAnswer(
      to: CreateTopicsRequest.self, version: 5, from: try #require(answer.responseData))
    #expect(response.topics.map(\.errorCode) == [.none])
    #expect(self.node.broker.controller.image.topic("made")?.partitions.count == 2)
  }

  @Test func envelopesThatAreRefused() throws {
    let produce = TestNode.frame(ProduceRequest(acks: 1, timeoutMs: 1))
    #expect(try self.node.ask(self.envelope(produce), from: self.control).errorCode == .invalidRequest)
    let nested = TestNode.frame(self.envelope(produce))
    #expect(try self.node.ask(self.envelope(nested), from: self.control).errorCode == .invalidRequest)
    #expect(try self.node.ask(self.envelope(ByteBuffer(bytes: [1])), from: self.control).errorCode == .invalidRequest)
    let fine = TestNode.frame(CreateTopicsRequest(timeoutMs: 1000))
    #expect(try self.node.ask(self.envelope(fine, principal: nil), from: self.control).errorCode == .principalDeserializationFailure)
    #expect(try self.node.ask(self.envelope(fine)).errorCode == .unsupportedVersion, "a broker opens none")
  }

  @Test func aClientsRequestIsPassedOnInItsVersion() throws {
    for version in CreateTopicsRequest.supportedVersions {
      let name = "topic-\(version)"
      let answer = try self.node.ask(
        CreateTopicsRequest(topics: [.init(name: name, numPartitions: 1, replicationFactor: 1)], timeoutMs: 1000), version: version)
      #expect(answer.topics.map(\.errorCode) == [.none])
    }
    let quorum = try self.node.ask(
      DescribeQuorumRequest(topics: [.init(topicName: "__cluster_metadata", partitions: [.init(partitionIndex: 0)])]))
    #expect(quorum.topics[0].partitions[0].leaderId == 1)
    #expect(quorum.topics[0].partitions[0].currentVoters.map(\.replicaId) == [1])
    #expect(quorum.topics[0].partitions[0].highWatermark > 0)
  }

  @Test(arguments: [
    ("127.0.0.1", [127, 0, 0, 1]), ("::1", [0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1]), ("name", []), ("1.2.3", []), ("1:2", []),
    ("fe80::1:2%eth0", [0xFE, 0x80, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 0, 2]), ("::", [UInt8](repeating: 0, count: 16)),
  ] as [(String, [UInt8])])
  func addresses(_ text: String, _ bytes: [UInt8]) {
    #expect(addressBytes(text) == bytes)
  }
}

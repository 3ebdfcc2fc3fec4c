import Model
import Synchronization
import Testing
import Wire

@testable import KafkaClient

@Suite struct ClusterAdminTests {
  private static let versions: [ApiKey: ClosedRange<Int16>] = [
    .apiVersions: 0...4, .metadata: 0...12, .listOffsets: 1...9, .fetch: 4...17, .describeCluster: 0...2, .describeQuorum: 0...2,
    .electLeaders: 0...2, .alterPartitionReassignments: 0...1, .listPartitionReassignments: 0...0, .unregisterBroker: 0...0,
    .addRaftVoter: 0...1, .removeRaftVoter: 0...0, .describeTopicPartitions: 0...0, .updateFeatures: 0...2, .describeConfigs: 1...4,
  ]

  /// Runs `body` with a client of a cluster that a test taught its answers.
  private func with(
    brokers: Int32 = 1, versions: [ApiKey: ClosedRange<Int16>] = Self.versions, _ body: (FakeCluster, KafkaAdmin) async throws -> Void
  ) async throws {
    let cluster = try await FakeCluster(brokers: brokers, versions: versions)
    let admin = KafkaAdmin(cluster.configuration)
    let result: Result<Void, any Error>
    do { result = .success(try await body(cluster, admin)) } catch { result = .failure(error) }
    await admin.close()
    await cluster.stop()
    try result.get()
  }

  private func orders(_ partition: Int32) -> KafkaClient.TopicPartition { .init(topic: "orders", partition: partition) }

  // MARK: The cluster

  @Test(.timeLimit(.minutes(1))) func brokersAreDescribedWithTheirStanding() async throws {
    try await self.with { cluster, admin in
      cluster.answer(DescribeClusterRequest.self) { request, _, _ in
        #expect(request.includeFencedBrokers && request.endpointType == 1)
        return DescribeClusterResponse(
          clusterId: "c", controllerId: 2,
          brokers: [
            .init(brokerId: 2, host: "b", port: 2, rack: "r", isFenced: true),
            .init(brokerId: 1, host: "a", port: 1, isFenced: false, shutdownState: 1),
          ])
      }
      let described = try await admin.describeCluster(includingFenced: true)
      #expect(described == ClusterDescription(id: "c", controllerID: 2, brokers: [
        BrokerDescription(id: 1, address: BrokerAddress(host: "a", port: 1), isFenced: false, isInControlledShutdown: true),
        BrokerDescription(id: 2, address: BrokerAddress(host: "b", port: 2), rack: "r", isFenced: true),
      ]))
    }
  }

  @Test(.timeLimit(.minutes(1))) func olderClustersAreDescribedAsFarAsTheyTell() async throws {
    var versions = Self.versions
    versions[.describeCluster] = 0...1
    try await self.with(versions: versions) { cluster, admin in
      cluster.answer(DescribeClusterRequest.self) { _, _, _ in
        DescribeClusterResponse(clusterId: "c", brokers: [.init(brokerId: 1, host: "a", port: 1)])
      }
      let described = try await admin.describeCluster(includingFenced: true)
      #expect(described.brokers.map(\.isFenced) == [nil] && described.controllerID == nil)
    }
    versions[.describeCluster] = nil
    try await self.with(brokers: 2, versions: versions) { _, admin in
      let described = try await admin.describeCluster()
      #expect(described.id == "fake" && described.brokers.map(\.id) == [1, 2])
      #expect(described.brokers.allSatisfy { $0.isFenced == nil })
    }
  }

  @Test(.timeLimit(.minutes(1))) func theQuorumIsDescribed() async throws {
    try await self.with { cluster, admin in
      let directory = try #require(KafkaUUID("AAAAAAAAAAAAAAAAAAAAAQ"))
      let calls = Mutex(0)
      cluster.answer(DescribeQuorumRequest.self) { request, _, _ in
        #expect(request.topics.first?.topicName == "__cluster_metadata")
        // A controller that was just deposed.
        if calls.withLock({ $0 += 1; return $0 }) == 1 { return DescribeQuorumResponse(errorCode: .notController) }
        let partition = DescribeQuorumResponse.PartitionData(
          partitionIndex: 0, leaderId: 3, leaderEpoch: 7, highWatermark: 100,
          currentVoters: [
            .init(replicaId: 3, replicaDirectoryId: directory, logEndOffset: 101, lastFetchTimestamp: 5000, lastCaughtUpTimestamp: 5000),
            .init(replicaId: 1, logEndOffset: -1),
          ], observers: [.init(replicaId: 9, logEndOffset: 90, lastFetchTimestamp: 4000, lastCaughtUpTimestamp: 3000)])
        return DescribeQuorumResponse(
          topics: [.init(topicName: "__cluster_metadata", partitions: [partition])],
          nodes: [.init(nodeId: 3, listeners: [.init(name: "CONTROLLER", host: "h", port: 9093)])])
      }
      #expect(try await admin.describeQuorum() == QuorumDescription(
        leader: 3, leaderEpoch: 7, highWatermark: 100,
        voters: [
          QuorumReplica(id: 1, logEndOffset: nil),
          QuorumReplica(id: 3, directoryID: "\(directory)", logEndOffset: 101, lastFetch: 5000, lastCaughtUp: 5000),
        ],
        observers: [QuorumReplica(id: 9, logEndOffset: 90, lastFetch: 4000, lastCaughtUp: 3000)],
        endpoints: [QuorumEndpoint(node: 3, listener: "CONTROLLER", address: BrokerAddress(host: "h", port: 9093))]))
      #expect(calls.withLock { $0 } == 2)
    }
  }

  @Test(.timeLimit(.minutes(1))) func aControllerThatIsGoneIsLookedForElsewhere() async throws {
    try await self.with(brokers: 2) { cluster, admin in
      // Broker 2 is named as the controller, and nobody answers there, until the cluster has found another.
      let asked = Mutex(0)
      let (alive, dead) = cluster.state.withLock { ($0.ports[1]!, 1) }
      cluster.answer(MetadataRequest.self) { _, _, _ in
        let isFirst = asked.withLock { $0 += 1; return $0 } == 1
        return MetadataResponse(
          brokers: [.init(nodeId: 1, host: "127.0.0.1", port: Int32(alive)), .init(nodeId: 2, host: "127.0.0.1", port: Int32(dead))],
          clusterId: "fake", controllerId: isFirst ? 2 : 1)
      }
      cluster.answer(UnregisterBrokerRequest.self) { request, _, node in
        #expect(request.brokerId == 5 && node == 1)
        return UnregisterBrokerResponse()
      }
      try await admin.unregisterBroker(5)
      #expect(asked.withLock { $0 } >= 2)
    }
  }

  @Test(.timeLimit(.minutes(1))) func featuresAndVotersAreChanged() async throws {
    try await self.with { cluster, admin in
      cluster.answer(UpdateFeaturesRequest.self) { request, version, _ in
        #expect(request.featureUpdates.map(\.feature) == ["metadata.version"] && request.featureUpdates[0].upgradeType == 2)
        return version < 2
          ? UpdateFeaturesResponse(results: [.init(feature: "metadata.version", errorCode: .invalidUpdateVersion, errorMessage: "no")])
          : UpdateFeaturesResponse(errorCode: .invalidUpdateVersion, errorMessage: "no")
      }
      let update = FeatureUpdate("metadata.version", level: 20, kind: .safeDowngrade)
      let error = await #expect(throws: KafkaError.self) { try await admin.updateFeatures([update]) }
      #expect(error?.code == .invalidUpdateVersion && error?.message == "no")

      cluster.answer(DescribeClusterRequest.self) { _, _, _ in DescribeClusterResponse(clusterId: "c") }
      cluster.answer(AddRaftVoterRequest.self) { request, _, _ in
        #expect(request.clusterId == "c" && request.voterId == 4 && "\(request.voterDirectoryId)" == "AAAAAAAAAAAAAAAAAAAAAQ")
        #expect(request.listeners == [.init(name: "CONTROLLER", host: "h", port: 9093)])
        return AddRaftVoterResponse(errorCode: .duplicateVoter)
      }
      let endpoint = QuorumEndpoint(node: 4, listener: "CONTROLLER", address: BrokerAddress(host: "h", port: 9093))
      let refusal = await #expect(throws: KafkaError.self) {
        try await admin.addVoter(4, directoryID: "AAAAAAAAAAAAAAAAAAAAAQ", endpoints: [endpoint])
      }
      #expect(refusal?.code == .duplicateVoter)
      cluster.answer(RemoveRaftVoterRequest.self) { request, _, _ in
        #expect(request.clusterId == "c" && request.voterId == 4)
        return RemoveRaftVoterResponse()
      }
      try await admin.removeVoter(4, directoryID: "AAAAAAAAAAAAAAAAAAAAAQ")
      let mistake = await #expect(throws: KafkaError.self) { try await admin.removeVoter(4, directoryID: "short") }
      #expect(mistake?.kind == .invalidArgument)
    }
  }

  // MARK: Partitions

  @Test(.timeLimit(.minutes(1))) func partitionsComeInPages() async throws {
    try await self.with { cluster, admin in
      cluster.answer(DescribeTopicPartitionsRequest.self) { request, _, _ in
        let from = request.cursor?.partitionIndex ?? 0
        let partition = DescribeTopicPartitionsResponse.DescribeTopicPartitionsResponsePartition(
          partitionIndex: from, leaderId: from == 0 ? -1 : 2, leaderEpoch: 4, replicaNodes: [1, 2], isrNodes: [2],
          eligibleLeaderReplicas: [1], lastKnownElr: nil, offlineReplicas: [1])
        var response = DescribeTopicPartitionsResponse(topics: [.init(name: "orders", isInternal: false, partitions: [partition])])
        if from == 0 { response.nextCursor = .init(topicName: "orders", partitionIndex: 1) }
        if from == 1 { response.topics.append(.init(errorCode: .unknownTopicOrPartition, name: "other")) }
        return response
      }
      let results = try await admin.describePartitions(["orders", "other", "third"])
      let orders = try results[0].get()
      #expect(orders.partitions.map(\.partition) == [0, 1])
      #expect(orders.partitions[0].leader == nil && orders.partitions[1].leader == 2)
      #expect(orders.partitions[1].eligibleLeaderReplicas == [1] && orders.partitions[1].lastKnownEligibleLeaderReplicas == [])
      #expect(throws: KafkaError.self) { try results[1].get() }
      #expect(throws: KafkaError.self) { try results[2].get() }
      #expect(cluster.count(.describeTopicPartitions) == 2)
      // No names are not all names.
      #expect(try await admin.describePartitions([]).isEmpty)
    }
  }

  @Test(.timeLimit(.minutes(1))) func aPageThatComesAgainAndAgainIsRefused() async throws {
    try await self.with { cluster, admin in
      cluster.answer(DescribeTopicPartitionsRequest.self) { _, _, _ in
        DescribeTopicPartitionsResponse(topics: [.init(name: "orders")], nextCursor: .init(topicName: "orders", partitionIndex: 1))
      }
      let error = await #expect(throws: KafkaError.self) { try await admin.describePartitions() }
      #expect(error?.kind == .malformed)
    }
  }

  @Test(.timeLimit(.minutes(1))) func olderClustersDescribePartitionsByMetadata() async throws {
    var versions = Self.versions
    versions[.describeTopicPartitions] = nil
    try await self.with(versions: versions) { _, admin in
      let topic = try await admin.describePartitions(["t"])[0].get()
      #expect(topic.partitions[0].replicas == [1, 2] && topic.partitions[0].eligibleLeaderReplicas == nil)
    }
  }

  @Test(.timeLimit(.minutes(1))) func electionsTellOfEachPartition() async throws {
    try await self.with { cluster, admin in
      cluster.answer(ElectLeadersRequest.self) { request, _, _ in
        #expect(request.electionType == 1 && request.topicPartitions?.map(\.partitions) == [[0, 1]])
        return ElectLeadersResponse(replicaElectionResults: [
          .init(topic: "orders", partitionResult: [.init(partitionId: 0), .init(partitionId: 1, errorCode: .electionNotNeeded)])
        ])
      }
      let results = try await admin.electLeaders(.unclean, [self.orders(1), self.orders(0)])
      #expect(results.count == 2)
      #expect(results[self.orders(0)] == .some(nil))
      #expect(results[self.orders(1)]??.code == .electionNotNeeded)
    }
    var versions = Self.versions
    versions[.electLeaders] = 0...0
    try await self.with(versions: versions) { cluster, admin in
      cluster.answer(ElectLeadersRequest.self) { _, _, _ in ElectLeadersResponse() }
      let error = await #expect(throws: KafkaError.self) { try await admin.electLeaders(.unclean, [self.orders(0)]) }
      #expect(error?.kind == .unsupportedVersion)
    }
  }

  @Test(.timeLimit(.minutes(1))) func reassignmentsAreBegunCancelledAndListed() async throws {
    try await self.with { cluster, admin in
      cluster.answer(AlterPartitionReassignmentsRequest.self) { request, _, _ in
        #expect(request.topics.map(\.partitions) == [
          [.init(partitionIndex: 0, replicas: [3, 1]), .init(partitionIndex: 1, replicas: nil)]
        ])
        return AlterPartitionReassignmentsResponse(responses: [
          .init(name: "orders", partitions: [.init(partitionIndex: 0), .init(partitionIndex: 1, errorCode: .noReassignmentInProgress)])
        ])
      }
      let results = try await admin.alterReassignments([self.orders(0): [3, 1], self.orders(1): nil])
      #expect(results[self.orders(0)] == .some(nil))
      #expect(results[self.orders(1)]??.code == .noReassignmentInProgress)

      cluster.answer(ListPartitionReassignmentsRequest.self) { request, _, _ in
        #expect(request.topics == nil)
        return ListPartitionReassignmentsResponse(topics: [
          .init(
            name: "orders",
            partitions: [.init(partitionIndex: 0, replicas: [3, 1, 2], addingReplicas: [3], removingReplicas: [2])])
        ])
      }
      let found = try await admin.listReassignments()
      #expect(found[self.orders(0)]?.original == [1, 2] && found[self.orders(0)]?.target == [3, 1])
    }
  }

  @Test(.timeLimit(.minutes(1))) func everyReplicaTellsTheEndOfItsLog() async throws {
    try await self.with(brokers: 2) { cluster, admin in
      cluster.answer(ListOffsetsRequest.self) { request, _, node in
        // Who debugs is answered by any replica, beyond the high watermark.
        #expect(request.replicaId == -2 && node == 2)
        let isEnd = request.topics[0].partitions[0].timestamp == -1
        return ListOffsetsResponse(topics: [
          .init(name: "orders", partitions: request.topics[0].partitions.map { asked in
            asked.partitionIndex == 1
              ? .init(partitionIndex: 1, errorCode: .unknownTopicOrPartition)
              : .init(partitionIndex: 0, timestamp: -1, offset: isEnd ? 50 : 10, leaderEpoch: isEnd ? 6 : 2)
          })
        ])
      }
      cluster.answer(FetchRequest.self) { request, version, node in
        #expect(version <= 12 && request.replicaId == -1 && node == 2)
        #expect(request.topics[0].partitions.map(\.fetchOffset) == [10])
        return FetchResponse(responses: [.init(topic: "orders", partitions: [.init(partitionIndex: 0, highWatermark: 45)])])
      }
      let ends = try await admin.logEnds(of: [self.orders(0), self.orders(1)], on: 2)
      #expect(try ends[self.orders(0)]?.get() == ReplicaLogEnd(offset: 50, leaderEpoch: 6, highWatermark: 45))
      #expect(throws: KafkaError.self) { try ends[self.orders(1)]?.get() }
      let error = await #expect(throws: KafkaError.self) { try await admin.logEnds(of: [self.orders(0)], on: 9) }
      #expect(error?.kind == .connection)
    }
  }

  @Test(.timeLimit(.minutes(1))) func configsOfManyTopicsComeInFewRequests() async throws {
    try await self.with { cluster, admin in
      cluster.answer(DescribeConfigsRequest.self) { request, _, _ in
        DescribeConfigsResponse(results: request.resources.map { resource in
          resource.resourceName == "t7"
            ? .init(errorCode: .unknownTopicOrPartition, resourceType: 2, resourceName: "t7")
            : .init(
              resourceType: 2, resourceName: resource.resourceName,
              configs: [.init(name: "min.insync.replicas", value: "2", configSource: 5)])
        })
      }
      let configs = try await admin.topicConfigs((0..<700).map { "t\($0)" }, names: ["min.insync.replicas"])
      #expect(configs.count == 699 && configs["t0"] == ["min.insync.replicas": "2"] && configs["t7"] == nil)
      #expect(cluster.count(.describeConfigs) == 2)
    }
  }
}

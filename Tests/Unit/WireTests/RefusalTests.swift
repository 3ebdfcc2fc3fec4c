import Model
import NIOCore
import Testing
import Wire

/// Requests that are refused as a whole: `ApiRequest.refusal`.
@Suite struct RefusalTests {
  /// The error codes in a response, found by reflection: Kafka's own, and those that stand for "no error".
  private static func codes(in value: Any) -> [ErrorCode] {
    if let code = value as? ErrorCode { return [code] }
    return Mirror(reflecting: value).children.flatMap { self.codes(in: $0.value) }
  }

  @Test("Every request of kafka-python is refused in every version, in a form that reads back", arguments: GoldenTests.apis)
  func refusesEverything(api: String) throws {
    guard GoldenTests.hasFixtures(api) else { return }
    let type = try #require(SchemaFixtures.types[api + "Request"] as? any ApiRequest.Type)
    for entry in try GoldenTests().entries(of: api) where entry.direction == "request" && entry.kind == "full" {
      try self.check(type, entry.bytes, Int16(entry.version))
    }
  }

  private func check<Request: ApiRequest>(_: Request.Type, _ bytes: [UInt8], _ version: Int16) throws {
    let request = try Request(decoding: ByteBuffer(bytes: bytes), version: version)
    let refusal = request.refusal(.unsupportedVersion, message: "no", version: version)
    let read = try Request.Response(decoding: refusal.encoded(version: version).buffer, version: version)
    let codes = Set(Self.codes(in: read))
    #expect(codes.contains(.unsupportedVersion), "\(Request.self) v\(version)")
    // Tagged errors of their own kind, and those that a version lacks, stay without.
    #expect(codes.isSubset(of: [.unsupportedVersion, .none]), "\(Request.self) v\(version)")
  }

  @Test("Where a version has no error of its own, each thing that was asked for has one")
  func itemByItem() {
    let fetch = OffsetFetchRequest(
      topics: [.init(name: "t", partitionIndexes: [3, 1]), .init(name: "u", partitionIndexes: [0])], groups: [.init(groupId: "g")])
    let old = fetch.refusal(.notCoordinator, message: nil, version: 1)
    #expect(old.topics.map(\.name) == ["t", "u"])
    #expect(old.topics.map { $0.partitions.map(\.partitionIndex) } == [[3, 1], [0]])
    #expect(old.topics.allSatisfy { $0.partitions.allSatisfy { $0.errorCode == .notCoordinator } })
    #expect(fetch.refusal(.notCoordinator, message: nil, version: 2).topics.isEmpty)
    let new = fetch.refusal(.notCoordinator, message: nil, version: 8)
    #expect(new.groups == [.init(groupId: "g", errorCode: .notCoordinator)])
    #expect(new.topics.isEmpty)
  }

  @Test("A path of arrays is made into one, and an element repeats what identifies it")
  func pathsAndIdentities() {
    let dirs = AlterReplicaLogDirsRequest(dirs: [
      .init(path: "/a", topics: [.init(name: "t", partitions: [0, 1])]), .init(path: "/b", topics: [.init(name: "u", partitions: [2])]),
    ])
    let moved = dirs.refusal(.unsupportedVersion, message: nil, version: 2)
    #expect(moved.results.map(\.topicName) == ["t", "u"])
    #expect(moved.results.map { $0.partitions.map(\.partitionIndex) } == [[0, 1], [2]])

    let quotas = AlterClientQuotasRequest(entries: [.init(entity: [.init(entityType: "user", entityName: nil)], ops: [])])
    #expect(
      quotas.refusal(.unsupportedVersion, message: "no", version: 1).entries == [
        .init(errorCode: .unsupportedVersion, errorMessage: "no", entity: [.init(entityType: "user", entityName: nil)])
      ])

    let scram = AlterUserScramCredentialsRequest(deletions: [.init(name: "a")], upsertions: [.init(name: "b")])
    #expect(scram.refusal(.unsupportedVersion, message: nil, version: 0).results.map(\.user) == ["a", "b"])

    let names = DeleteTopicsRequest(topicNames: ["t"]).refusal(.unsupportedVersion, message: nil, version: 5)
    #expect(names.responses.map(\.name) == ["t"])
    let ids = DeleteTopicsRequest(topics: [.init(name: nil, topicId: KafkaUUID(high: 1, low: 2))])
    #expect(ids.refusal(.unsupportedVersion, message: nil, version: 6).responses.map(\.topicId) == [KafkaUUID(high: 1, low: 2)])
  }

  @Test("What only tells how something went is left at its default")
  func leavesTheRest() {
    let request = OffsetForLeaderEpochRequest(
      topics: [.init(topic: "t", partitions: [.init(partition: 4, currentLeaderEpoch: 7, leaderEpoch: 6)])])
    let partition = request.refusal(.unsupportedVersion, message: nil, version: 4).topics[0].partitions[0]
    #expect(partition == .init(errorCode: .unsupportedVersion, partition: 4, leaderEpoch: -1, endOffset: -1))
    let creation = CreateTopicsRequest(topics: [.init(name: "t", numPartitions: 9)])
    let topic = creation.refusal(.notController, message: "no", version: 7).topics[0]
    #expect(topic.errorCode == .notController && topic.errorMessage == "no" && topic.topicConfigErrorCode == .none)
    #expect(topic.numPartitions == -1)
  }
}

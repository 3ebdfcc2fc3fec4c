import Metadata
import Model
import NIOCore
import Testing
import Wire

@testable import Controller

@Suite struct MetadataRecordTests {
  static let topicID = KafkaUUID(high: 0x0102_0304_0506_0708, low: 0x090A_0B0C_0D0E_0F10)
  static let partition = TopicIDPartition(topicID, PartitionID(3))

  static let changes: [MetadataChange] = {
    var full = PartitionImage(
      assignedReplicas: [NodeID(1), NodeID(2)], inSyncReplicas: [NodeID(2)], leader: NodeID(2), leaderEpoch: LeaderEpoch(7),
      partitionEpoch: PartitionEpoch(9), directories: [topicID, .zero])
    full.leaderRecoveryState = .recovering
    full.addingReplicas = [NodeID(3)]
    full.removingReplicas = [NodeID(1)]
    full.eligibleLeaderReplicas = [NodeID(1)]
    full.lastKnownEligibleLeaderReplicas = [NodeID(4)]
    full.reason = .isrShrink
    var change = PartitionChange()
    change.inSyncReplicas = []
    change.leader = NodeID.none
    change.assignedReplicas = [NodeID(5)]
    change.addingReplicas = []
    change.removingReplicas = [NodeID(1)]
    change.leaderRecoveryState = .recovered
    change.directories = [.zero]
    change.eligibleLeaderReplicas = [NodeID(8)]
    change.lastKnownEligibleLeaderReplicas = []
    change.reason = .uncleanElection
    var leader = PartitionChange()
    leader.leader = NodeID(4)
    var fence = BrokerRegistrationChange(NodeID(1), epoch: BrokerEpoch(5))
    fence.isFenced = true
    fence.beginsControlledShutdown = true
    fence.logDirectories = [topicID]
    var unfence = BrokerRegistrationChange(NodeID(1), epoch: BrokerEpoch(5))
    unfence.isFenced = false
    return [
      .topic(name: "t", id: topicID), .partition(partition, full),
      .partition(
        partition,
        PartitionImage(assignedReplicas: [NodeID(1)], inSyncReplicas: [NodeID(1)], leader: NodeID(1), directories: [.zero])),
      .partitionChange(partition, PartitionChange()), .partitionChange(partition, change), .partitionChange(partition, leader),
      .removeTopic(id: topicID),
      .registerBroker(
        BrokerRegistration(
          nodeID: NodeID(1), incarnationID: topicID, epoch: BrokerEpoch(44),
          endpoints: [
            Listener(name: "A", host: "h", port: 65535), Listener(name: "B", host: "", port: 0, securityProtocol: .saslSSL),
          ],
          features: [.init(name: "metadata.version", versions: 7...29)], rack: "r", isFenced: false, isInControlledShutdown: true,
          logDirectories: [topicID])),
      .registerBroker(BrokerRegistration(nodeID: NodeID(2), incarnationID: .zero, epoch: BrokerEpoch(0), endpoints: [])),
      .unregisterBroker(NodeID(1), epoch: BrokerEpoch(2)), .brokerRegistrationChange(fence), .brokerRegistrationChange(unfence),
      .brokerRegistrationChange(BrokerRegistrationChange(NodeID(3), epoch: BrokerEpoch(4))), .fenceBroker(NodeID(1), epoch: BrokerEpoch(2)),
      .unfenceBroker(NodeID(1), epoch: BrokerEpoch(2)), .config(.topic("t"), name: "a", value: "b"),
      .config(.defaultBroker, name: "a", value: nil),
      .config(ConfigResource(.group, "g"), name: "a", value: ""), .featureLevel(name: "metadata.version", level: 29),
      .producerIDs(broker: NodeID(1), epoch: BrokerEpoch(2), next: ProducerID(1000)), .noOp,
      .clearEligibleLeaderReplicas(topicName: nil), .clearEligibleLeaderReplicas(topicName: "t"),
    ]
  }()

  @Test(arguments: changes) func roundTrip(_ change: MetadataChange) throws {
    #expect(try MetadataChange(decoding: change.encoded) == change)
    #expect(try MetadataChange(change.record) == change)
  }

  /// By hand from Kafka's schemas: frame version, type and version as varints, compact strings, the id, no tagged fields.
  @Test func bytesOfATopic() {
    let bytes: [UInt8] = [1, 2, 0, 2, 0x74, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16, 0]
    #expect(Array(Self.changes[0].encoded.readableBytesView) == bytes)
  }

  @Test func bytesOfAFeature() {
    let bytes = [1, 12, 0, 17] + Array("metadata.version".utf8) + [0, 29, 0]
    #expect(Array(MetadataChange.featureLevel(name: "metadata.version", level: 29).encoded.readableBytesView) == bytes)
  }

  /// A new leader, and nothing else: one tagged field (number 1) of four bytes.
  @Test func bytesOfALeaderChange() {
    let id: [UInt8] = [1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16]
    let bytes: [UInt8] = [1, 5, 2, 0, 0, 0, 3] + id + [1, 1, 4, 0, 0, 0, 4]
    #expect(Array(Self.changes[5].encoded.readableBytesView) == bytes)
  }

  /// Why it was done: a tagged field of one byte with the number 1000, far from Kafka's.
  @Test func bytesOfAReason() {
    let id: [UInt8] = [1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16]
    var change = PartitionChange()
    change.reason = .brokerFenced
    let bytes: [UInt8] = [1, 5, 2, 0, 0, 0, 3] + id + [1, 0xE8, 0x07, 1, 2]
    #expect(Array(MetadataChange.partitionChange(Self.partition, change).encoded.readableBytesView) == bytes)
  }

  /// Kafka's records have no reasons, and a later version may have others.
  @Test func reasonsThatAreNotThere() throws {
    #expect(PartitionImage(assignedReplicas: [], inSyncReplicas: [], leader: .none).reason == .created)
    let known = try MetadataChange(.partitionChange(PartitionChangeRecord(partitionId: 3, topicId: Self.topicID)))
    #expect(known == .partitionChange(Self.partition, PartitionChange()))
    let later = try MetadataChange(.partitionChange(PartitionChangeRecord(partitionId: 3, topicId: Self.topicID, reason: 99)))
    #expect(later == .partitionChange(Self.partition, PartitionChange()))
    for reason in PartitionChangeReason.allCases {
      var change = PartitionChange()
      change.reason = reason
      let record = MetadataChange.partitionChange(Self.partition, change)
      #expect(try MetadataChange(decoding: record.encoded) == record)
    }
  }

  /// Why a broker was fenced: the same number, in the other record.
  @Test func bytesOfAFencingsCause() throws {
    var change = BrokerRegistrationChange(NodeID(2), epoch: BrokerEpoch(3))
    change.isFenced = true
    change.cause = .processDead
    // `Fenced` is the tagged field 0.
    let bytes: [UInt8] = [1, 17, 2, 0, 0, 0, 2, 0, 0, 0, 0, 0, 0, 0, 3, 2, 0, 1, 1, 0xE8, 0x07, 1, 2]
    #expect(Array(MetadataChange.brokerRegistrationChange(change).encoded.readableBytesView) == bytes)
    for cause in [FencingCause.sessionEnded, .processDead, .ownWish, .controlledShutdown, nil] {
      change.cause = cause
      let record = MetadataChange.brokerRegistrationChange(change)
      #expect(try MetadataChange(decoding: record.encoded) == record)
    }
    // Kafka's records have none, and a later version may have others.
    let later = BrokerRegistrationChangeRecord(brokerId: 2, brokerEpoch: 3, fenced: 1, cause: 99)
    #expect(try MetadataChange(.brokerRegistrationChange(later)) == .brokerRegistrationChange(change))
  }

  @Test func whatHasNoMeaningHereIsRefused() {
    let record = MetadataRecord.clientQuota(ClientQuotaRecord())
    #expect(throws: MetadataRecordError.notSupported(type: 14)) { try MetadataChange(record) }
    var change = BrokerRegistrationChangeRecord(brokerId: 1, brokerEpoch: 1)
    change.fenced = 3
    #expect(throws: MetadataRecordError.invalidField("BrokerRegistrationChangeRecord.fenced", 3)) {
      try MetadataChange(.brokerRegistrationChange(change))
    }
    #expect(throws: MetadataRecordError.invalidField("ConfigRecord.resourceType", 77)) {
      try MetadataChange(.config(ConfigRecord(resourceType: 77, resourceName: "x", name: "y", value: nil)))
    }
  }

  @Test func truncatedRecordsAreRefused() {
    for change in Self.changes {
      let whole = change.encoded
      for length in 0..<whole.readableBytes {
        #expect(throws: MetadataRecordError.self) {
          try MetadataChange(decoding: whole.getSlice(at: whole.readerIndex, length: length)!)
        }
      }
    }
  }
}

import Compression
import Controller
import Metadata
import Model
import NIOCore
import Records
import Wire

/// What the metadata log tells of partitions, brokers and controllers, record by record: the state as it was at each moment, and what
/// changed it. A value that is fed with batches; records that it has no use for are passed over, so that it reads Apache Kafka's logs, too.
struct ClusterHistory {
  /// When and where in the log something happened.
  struct Place: Hashable, Sendable {
    var offset: Int64
    /// Milliseconds since 1970, by the clock of the controller that wrote it.
    var time: Int64
    /// Of the quorum: which controller's term it was.
    var quorumEpoch: Int32
  }

  enum Event: Sendable, Hashable {
    /// A controller began to lead the quorum.
    case controller(NodeID)
    case topicCreated(name: String, id: KafkaUUID)
    case topicRemoved(name: String, id: KafkaUUID)
    /// A config of the topic's own; a nil value: it has none any more.
    case topicConfigured(name: String, config: String, value: String?)
    case partition(topic: String, PartitionTransition)
    case broker(NodeID, BrokerChange)
  }
  enum BrokerChange: Sendable, Hashable {
    case registered(isFenced: Bool, rack: String?)
    /// The cause is nil where whoever wrote the log did not note it.
    case fenced(FencingCause?)
    case unfenced
    case shutdownBegun
    case unregistered
  }
  struct Entry: Sendable, Hashable {
    var place: Place
    var event: Event
  }

  /// A broker as the log has it.
  struct Broker: Sendable, Hashable {
    var isFenced: Bool
    var isInControlledShutdown: Bool
    var rack: String?
  }

  struct Topic: Sendable {
    var name: String
    var partitions: [PartitionID: Partition] = [:]
  }
  struct Partition: Sendable {
    var image: PartitionImage
    /// The last change; nil: it came before the snapshot that the history begins with.
    var changed: Place?
    /// Since when it has had no leader; nil while it has one, or where it is not known.
    var leaderless: Place?
  }

  private(set) var topics: [KafkaUUID: Topic] = [:]
  private(set) var topicIDs: [String: KafkaUUID] = [:]
  private(set) var brokers: [NodeID: Broker] = [:]
  /// The last controller that the log names, and its epoch.
  private(set) var controller: (node: NodeID, epoch: Int32)?
  /// The snapshot that stands for what came before: its end, and the time of the last record that it contains. Nil: the log is whole.
  private(set) var snapshot: (endOffset: Int64, time: Int64)?
  /// Records that this version has no meaning for.
  private(set) var skippedCount = 0
  /// The offset after the last record.
  private(set) var endOffset: Int64 = 0
  private let decompressor = Decompressor()
  private static let batchByteCountMax = 128 << 20

  init() {}

  func partition(_ topic: String, _ partition: PartitionID) -> Partition? {
    self.topicIDs[topic].flatMap { self.topics[$0]?.partitions[partition] }
  }

  /// The state from a snapshot; what was known before is forgotten.
  mutating func load(snapshot batches: some Sequence<RecordBatchView>, endOffset: Int64) throws {
    let skipped = self.skippedCount
    self = ClusterHistory()
    self.skippedCount = skipped
    var time: Int64 = -1
    for batch in batches {
      var records = try batch.records(using: self.decompressor, limit: Self.batchByteCountMax)
      while let record = try records.next() {
        guard batch.header.attributes.isControl else {
          _ = try self.replay(record, nil)
          continue
        }
        if let key = record.key, let value = record.value, case .snapshotHeader(let header) = try ControlRecord(key: key, value: value) {
          time = header.lastContainedLogTimestamp
        }
      }
    }
    self.snapshot = (endOffset, time)
    self.endOffset = endOffset
  }

  /// One batch of the log. `body` hears of every event in it, in order. Records before the end are passed over, so that a batch that was
  /// seen in part goes on where it was left.
  mutating func take(_ batch: RecordBatchView, _ body: (Entry) -> Void) throws {
    var records = try batch.records(using: self.decompressor, limit: Self.batchByteCountMax)
    while let record = try records.next() {
      guard record.offset.rawValue >= self.endOffset else { continue }
      let place = Place(
        offset: record.offset.rawValue, time: record.timestamp.rawValue, quorumEpoch: batch.header.partitionLeaderEpoch.rawValue)
      let event = batch.header.attributes.isControl ? try self.replayControl(record, place) : try self.replay(record, place)
      if let event { body(Entry(place: place, event: event)) }
      self.endOffset = record.offset.rawValue + 1
    }
  }

  private mutating func replayControl(_ record: RecordView, _ place: Place) throws -> Event? {
    guard let key = record.key, let value = record.value else { return nil }
    guard case .leaderChange(let message) = try ControlRecord(key: key, value: value) else { return nil }
    self.controller = (NodeID(message.leaderId), place.quorumEpoch)
    return .controller(NodeID(message.leaderId))
  }

  /// - Parameter place: nil in a snapshot, which says what is and not when it became so.
  private mutating func replay(_ record: RecordView, _ place: Place?) throws -> Event? {
    guard let value = record.value else { return nil }
    let change: MetadataChange
    do throws(MetadataRecordError) { change = try MetadataChange(decoding: value) } catch {
      guard case .notSupported = error else { throw error }
      self.skippedCount += 1
      return nil
    }
    switch change {
    case .topic(let name, let id):
      self.topics[id] = Topic(name: name)
      self.topicIDs[name] = id
      return .topicCreated(name: name, id: id)
    case .removeTopic(let id):
      guard let topic = self.topics.removeValue(forKey: id) else { return nil }
      if self.topicIDs[topic.name] == id { self.topicIDs[topic.name] = nil }
      return .topicRemoved(name: topic.name, id: id)
    case .partition(let id, let image): return self.set(id, image, place)
    case .partitionChange(let id, let change):
      guard var image = self.topics[id.topicID]?.partitions[id.partition]?.image else { return nil }
      image.apply(change)
      return self.set(id, image, place)
    case .clearEligibleLeaderReplicas(let name):
      self.clearEligible(name)
      return nil
    case .registerBroker, .unregisterBroker, .brokerRegistrationChange, .fenceBroker, .unfenceBroker: return self.replay(broker: change)
    case .config(let resource, let name, let value) where resource.kind == .topic && place != nil:
      return .topicConfigured(name: resource.name, config: name, value: value)
    case .config, .featureLevel, .producerIDs, .noOp: return nil
    }
  }

  private mutating func set(_ id: TopicIDPartition, _ image: PartitionImage, _ place: Place?) -> Event? {
    guard let topic = self.topics[id.topicID] else { return nil }
    let before = topic.partitions[id.partition]
    let leaderless: Place? = image.hasLeader ? nil : (before?.image.hasLeader == false ? before?.leaderless : place)
    self.topics[id.topicID]?.partitions[id.partition] = Partition(image: image, changed: place, leaderless: leaderless)
    return .partition(
      topic: topic.name, PartitionTransition(partition: id, reason: image.reason, before: before?.image, after: image))
  }

  private mutating func clearEligible(_ name: String?) {
    for (id, topic) in self.topics where name == nil || topic.name == name {
      for partition in topic.partitions.keys {
        self.topics[id]?.partitions[partition]?.image.eligibleLeaderReplicas = []
        self.topics[id]?.partitions[partition]?.image.lastKnownEligibleLeaderReplicas = []
      }
    }
  }

  private mutating func replay(broker change: MetadataChange) -> Event? {
    switch change {
    case .registerBroker(let registration):
      self.brokers[registration.nodeID] = Broker(
        isFenced: registration.isFenced, isInControlledShutdown: registration.isInControlledShutdown, rack: registration.rack)
      return .broker(registration.nodeID, .registered(isFenced: registration.isFenced, rack: registration.rack))
    case .unregisterBroker(let node, _):
      self.brokers[node] = nil
      return .broker(node, .unregistered)
    case .fenceBroker(let node, _):
      self.brokers[node]?.isFenced = true
      return .broker(node, .fenced(nil))
    case .unfenceBroker(let node, _):
      self.brokers[node]?.isFenced = false
      return .broker(node, .unfenced)
    case .brokerRegistrationChange(let change):
      if let isFenced = change.isFenced { self.brokers[change.nodeID]?.isFenced = isFenced }
      if change.beginsControlledShutdown { self.brokers[change.nodeID]?.isInControlledShutdown = true }
      if change.beginsControlledShutdown { return .broker(change.nodeID, .shutdownBegun) }
      return change.isFenced.map { .broker(change.nodeID, $0 ? .fenced(change.cause) : .unfenced) }
    default: return nil
    }
  }
}

import Base
import HashTreeCollections
import Environment
import Metadata
import Model

/// One state of the metadata as this broker serves it: the image, and the partitions that are here. Immutable and published by reference;
/// the next one shares all that did not change.
final class Catalog<Env: Environment>: Sendable {
  let image: MetadataImage
  private let topicsByName: TreeDictionary<String, HostedTopic<Env>>
  private let topicsByID: TreeDictionary<KafkaUUID, HostedTopic<Env>>
  /// Those with a partition that could not be opened, by name: none, mostly.
  private let offlineTopics: TreeDictionary<String, HostedTopic<Env>>
  let lingering: LingeringBrokers

  init(image: MetadataImage) {
    self.image = image
    self.topicsByName = [:]
    self.topicsByID = [:]
    self.offlineTopics = [:]
    self.lingering = LingeringBrokers()
  }

  private init(
    image: MetadataImage, topicsByName: TreeDictionary<String, HostedTopic<Env>>, topicsByID: TreeDictionary<KafkaUUID, HostedTopic<Env>>,
    offlineTopics: TreeDictionary<String, HostedTopic<Env>>, lingering: LingeringBrokers
  ) {
    (self.image, self.topicsByName, self.topicsByID, self.offlineTopics) = (image, topicsByName, topicsByID, offlineTopics)
    self.lingering = lingering
  }

  /// The next state. `lingering`: nil if no broker changed.
  func updated(
    image: MetadataImage, removing removed: [TopicImage], adding topics: [HostedTopic<Env>], lingering: LingeringBrokers? = nil
  ) -> Catalog<Env> {
    var (byName, byID, offline) = (self.topicsByName, self.topicsByID, self.offlineTopics)
    for topic in removed {
      if byName[topic.name]?.id == topic.id { (byName[topic.name], offline[topic.name]) = (nil, nil) }
      byID[topic.id] = nil
    }
    for topic in topics {
      byName[topic.name] = topic
      byID[topic.id] = topic
      offline[topic.name] = topic.hasOffline ? topic : nil
    }
    return Catalog(
      image: image, topicsByName: byName, topicsByID: byID, offlineTopics: offline, lingering: lingering ?? self.lingering)
  }

  // MARK: Lookups

  func topic(_ reference: TopicReference) -> HostedTopic<Env>? {
    switch reference {
    case .name(let name): self.topicsByName[name]
    case .id(let id): self.topicsByID[id]
    }
  }

  /// The partition, or the code with which a request about it is refused.
  func partition(_ reference: TopicReference, _ id: PartitionID) -> Result<Partition<Env>, ErrorCode.Refusal> {
    guard let topic = self.topic(reference) else { return .failure(.init(code: Self.unknownTopicCode(reference))) }
    return topic.partition(id)
  }

  static func unknownTopicCode(_ reference: TopicReference) -> ErrorCode {
    switch reference {
    case .name: .unknownTopicOrPartition
    case .id: .unknownTopicId
    }
  }

  /// Every partition here, in the order of topic names and partition ids.
  var hostedPartitions: [Partition<Env>] {
    self.topicsByName.sorted { $0.key < $1.key }.flatMap { $0.value.hostedPartitions }
  }

  /// Every partition that could not be opened for a reason that can pass, in the order of topic names and partition ids.
  var retriablePartitions: [(topicID: KafkaUUID, partition: PartitionID)] {
    if self.offlineTopics.isEmpty { return [] }
    return self.offlineTopics.sorted { $0.key < $1.key }.flatMap { _, topic in topic.retriablePartitions.map { (topic.id, $0) } }
  }

  /// A partition that belongs here could not be opened, so that nobody knows what its files hold.
  var hasOfflinePartitions: Bool { !self.offlineTopics.isEmpty }

  /// Who leads the partition, as clients are to be told.
  func leader(_ reference: TopicReference, _ id: PartitionID) -> (NodeID, LeaderEpoch)? {
    guard let topic = self.topic(reference), let partition = self.image.topic(topic.id)?[id] else { return nil }
    return (partition.leader, partition.leaderEpoch)
  }

  /// Where clients of the listener reach the broker; nil if it is not registered, fenced, or has no such listener.
  func endpoint(of node: NodeID, listener: String) -> BrokerEndpoint? {
    guard let broker = self.image.broker(node), !broker.isFenced else { return nil }
    return BrokerEndpoint(broker, listener: listener)
  }

  /// The brokers that are not fenced, as clients of the listener reach them, in the order of their ids.
  func endpoints(listener: String) -> [BrokerEndpoint] {
    self.image.brokers.compactMap { $0.isFenced ? nil : BrokerEndpoint($0, listener: listener) }
  }

  /// The brokers that Metadata lists: `endpoints`, and those that were fenced a moment ago.
  func listedEndpoints(listener: String, now: Instant) -> [BrokerEndpoint] {
    self.image.brokers.compactMap { broker in
      guard !broker.isFenced || self.lingering.contains(broker.nodeID, now: now) else { return nil }
      return BrokerEndpoint(broker, listener: listener)
    }
  }
}

/// A broker as a client reaches it.
struct BrokerEndpoint: Hashable, Sendable {
  var nodeID: NodeID
  var host: String
  var port: Int32
  var rack: String?

  init(nodeID: NodeID, host: String, port: Int32, rack: String? = nil) {
    (self.nodeID, self.host, self.port, self.rack) = (nodeID, host, port, rack)
  }

  /// Nil if the broker has no such listener.
  init?(_ broker: BrokerRegistration, listener: String) {
    guard let endpoint = broker.endpoint(listener) else { return nil }
    self.init(nodeID: broker.nodeID, host: endpoint.host, port: Int32(endpoint.port), rack: broker.rack)
  }
}

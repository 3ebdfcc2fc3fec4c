import Base
import Model
import NIOCore
import Wire

/// Looks up starts and fetches for a consumer: one fetch at a time per broker, the next as soon as the last was answered and there is
/// room. Everything happens on the cluster client's event loop.
final class ConsumerFetcher: @unchecked Sendable {
  private typealias Order = ConsumerState.Order
  private typealias Lookup = (order: Order, start: StartPosition)

  private enum Readiness {
    case ready(BrokerConnection)
    case notYet
    case failed(KafkaError)
  }

  /// Runs a piece of work under the consumer's lock.
  var access: ((inout ConsumerState) -> Void) -> Void = { _ in }

  private let configuration: ConsumerConfiguration
  private let cluster: ClusterClient
  private let pool = DecompressorPool()
  private var fetching: Set<Int32> = []
  private let links: LeaderLinks
  private var generator: SeededGenerator
  /// `next` was told of the outage that goes on.
  private var hasToldOutage = false

  init(_ configuration: ConsumerConfiguration, _ cluster: ClusterClient) {
    (self.configuration, self.cluster) = (configuration, cluster)
    var system = SystemRandomNumberGenerator()
    self.generator = SeededGenerator(seed: system.next())
    self.links = LeaderLinks(cluster)
    self.links.pump = { [weak self] in self?.pump() }
    self.cluster.onMetadata = { [weak self] in
      self?.links.metadataHelped()
      self?.pump()
    }
  }

  /// From any thread: there is something to look at.
  func wake() { self.cluster.eventLoop.execute { self.pump() } }

  func stop() { self.links.stop() }

  // MARK: Deciding

  private func pump() {
    if self.links.isStopped { return }
    self.links.disarm()
    let now = MonotonicClock.now()
    self.checkOutage(now: now)
    var lookups: [Lookup] = []
    var fetches: [Order] = []
    var wantsMetadata = self.cluster.metadataIsStale
    var missing: Set<Int32> = []
    self.access { state in
      for topic in state.topics { self.cluster.follow(topic) }
      func accepts(_ partition: TopicPartition) -> Bool {
        switch self.readiness(of: partition) {
        case .ready, .failed: return true
        case .notYet:
          if let leader = self.leader(of: partition) { missing.insert(leader) } else { wantsMetadata = true }
          return false
        }
      }
      lookups = state.takeLookups(now: now, accepts: accepts)
      fetches = state.takeFetches(now: now) { partition in
        if let leader = self.leader(of: partition), self.fetching.contains(leader) { return false }
        return accepts(partition)
      }
    }
    self.look(up: lookups, now: now)
    self.fetch(fetches, now: now)
    for leader in missing { self.links.connect(to: leader) }
    if wantsMetadata { self.links.askForMetadata() }
    self.arm()
  }

  private func arm() {
    var deadline: Instant?
    self.access { deadline = $0.nextDeadline }
    if let end = self.endOfPatience(), !self.hasToldOutage { deadline = min(deadline ?? end, end) }
    self.links.arm(deadline)
  }

  /// When an outage that goes on has lasted too long; nil without one.
  private func endOfPatience() -> Instant? {
    guard let outageTimeout = self.configuration.outageTimeout, let since = self.cluster.unreachableSince else { return nil }
    return since + outageTimeout
  }

  /// Lets `next` throw, once, if there has been no broker for too long.
  private func checkOutage(now: Instant) {
    guard let end = self.endOfPatience() else { return self.hasToldOutage = false }
    guard now >= end, !self.hasToldOutage else { return }
    self.hasToldOutage = true
    let reason = self.links.lastFailure.map { ": \($0)" } ?? ""
    let seconds = (self.configuration.outageTimeout ?? .zero) / .seconds(1)
    let error = KafkaError(.connection, "no broker could be reached for \(seconds) s\(reason)")
    self.access { $0.fail(error) }
  }

  /// Nil, too, if the leader is not among the brokers that the cluster names: only newer metadata can tell where it is.
  private func leader(of partition: TopicPartition) -> Int32? {
    guard let leader = self.cluster.metadata.partition(partition.partition, of: partition.topic)?.leader,
      self.links.knows(leader)
    else { return nil }
    return leader
  }

  private func readiness(of partition: TopicPartition) -> Readiness {
    guard let topic = self.cluster.metadata.topics[partition.topic] else { return .notYet }
    if topic.errorCode != .none { return .failed(KafkaError(topic.errorCode, about: "topic \(partition.topic)")) }
    guard self.cluster.metadata.partition(partition.partition, of: partition.topic) != nil else {
      return .failed(KafkaError(.unknownTopicOrPartition, "topic \(partition.topic) has no partition \(partition.partition)"))
    }
    guard let leader = self.leader(of: partition), let connection = self.cluster.openConnection(to: leader) else { return .notYet }
    return .ready(connection)
  }

  private func fail(_ orders: [(Order, KafkaError, promptly: Bool)]) {
    if orders.isEmpty { return }
    let now = MonotonicClock.now()
    var generator = self.generator
    self.access { state in
      for (order, error, promptly) in orders { state.failed(order, error, promptly: promptly, now: now, using: &generator) }
    }
    self.generator = generator
    if orders.contains(where: { $0.1.isRetriable && !$0.promptly }) { self.links.askForMetadata() }
  }

  /// Groups by leader what can be asked, and fails the rest.
  private func grouped<Work>(_ work: [Work], _ order: (Work) -> Order) -> [(leader: Int32, connection: BrokerConnection, work: [Work])] {
    var groups: [(leader: Int32, connection: BrokerConnection, work: [Work])] = []
    var failures: [(Order, KafkaError, promptly: Bool)] = []
    for item in work {
      let partition = order(item).partition
      switch self.readiness(of: partition) {
      case .ready(let connection):
        let leader = self.leader(of: partition) ?? -1
        if let index = groups.firstIndex(where: { $0.leader == leader }) {
          groups[index].work.append(item)
        } else {
          groups.append((leader, connection, [item]))
        }
      case .failed(let error): failures.append((order(item), error, false))
      case .notYet: failures.append((order(item), KafkaError(.leaderNotAvailable, about: "\(partition)"), false))
      }
    }
    self.fail(failures)
    return groups
  }

  // MARK: Starts

  private func look(up lookups: [Lookup], now: Instant) {
    for group in self.grouped(lookups, { $0.order }) { self.look(up: group.work, on: group.connection) { $0.wireTimestamp } }
  }

  private func look(
    up lookups: [Lookup], latest: [TopicPartition: Int64] = [:], on connection: BrokerConnection,
    timestamp: @escaping (StartPosition) -> Int64
  ) {
    var request = ListOffsetsRequest(
      replicaId: -1, isolationLevel: self.configuration.readCommitted ? 1 : 0,
      timeoutMs: Int32(clamping: self.configuration.client.requestTimeout.wholeMilliseconds))
    for lookup in lookups.sorted(by: { $0.order.partition < $1.order.partition }) {
      let partition = lookup.order.partition
      if request.topics.last?.name != partition.topic { request.topics.append(.init(name: partition.topic)) }
      request.topics[request.topics.count - 1].partitions.append(
        .init(partitionIndex: partition.partition, currentLeaderEpoch: self.leaderEpoch(of: partition), timestamp: timestamp(lookup.start)))
    }
    let send: EventLoopFuture<ListOffsetsResponse> = connection.send(request)
    send.whenComplete { result in
      switch result {
      case .failure(let error): self.fail(lookups.map { ($0.order, KafkaError(wrapping: error), false) })
      case .success(let response): self.located(lookups, latest: latest, response, on: connection)
      }
      self.pump()
    }
  }

  private func leaderEpoch(of partition: TopicPartition) -> Int32 {
    self.cluster.metadata.partition(partition.partition, of: partition.topic)?.leaderEpoch ?? -1
  }

  private func located(
    _ lookups: [Lookup], latest: [TopicPartition: Int64], _ response: ListOffsetsResponse, on connection: BrokerConnection
  ) {
    var answers: [TopicPartition: ListOffsetsResponse.ListOffsetsPartitionResponse] = [:]
    for topic in response.topics {
      for partition in topic.partitions { answers[TopicPartition(topic: topic.name, partition: partition.partitionIndex)] = partition }
    }
    var failures: [(Order, KafkaError, promptly: Bool)] = []
    var found: [(Order, Int64)] = []
    var wantsLatest: [Lookup] = []
    var wantsEarliest: [Lookup] = []
    var ends: [TopicPartition: Int64] = [:]
    for (order, start) in lookups {
      guard let answer = answers[order.partition] else {
        failures.append((order, KafkaError(.connection, "the broker's answer says nothing about \(order.partition)"), false))
        continue
      }
      if answer.errorCode != .none {
        failures.append((order, KafkaError(answer.errorCode, about: "\(order.partition)"), false))
      } else if case .timestamp = start, answer.offset < 0 {
        wantsLatest.append((order, .latest))
      } else if let back = start.distanceFromEnd {
        if let end = latest[order.partition] {
          found.append((order, max(answer.offset, end - back)))
        } else {
          ends[order.partition] = answer.offset
          wantsEarliest.append((order, start))
        }
      } else {
        found.append((order, answer.offset))
      }
    }
    self.fail(failures)
    self.access { state in for (order, offset) in found { state.located(order, offset: offset) } }
    if !wantsLatest.isEmpty { self.look(up: wantsLatest, on: connection) { _ in OffsetSpec.latest.wireValue } }
    if !wantsEarliest.isEmpty { self.look(up: wantsEarliest, latest: ends, on: connection) { _ in OffsetSpec.earliest.wireValue } }
  }

  // MARK: Fetching

  private func fetch(_ orders: [Order], now: Instant) {
    for group in self.grouped(orders, { $0 }) {
      self.fetching.insert(group.leader)
      let (request, hasIDs) = self.request(for: group.work)
      let wait = self.configuration.client.requestTimeout + self.configuration.waitMax
      // From version 13 on topics are named by id only, which a broker of before Kafka 2.8 did not tell.
      group.connection.send(request, notAbove: hasIDs ? .max : 12, timeout: wait).whenComplete { result in
        self.fetching.remove(group.leader)
        switch result {
        case .failure(let error): self.fail(group.work.map { ($0, KafkaError(wrapping: error), false) })
        case .success(let response): self.fetched(group.work, response)
        }
        self.pump()
      }
    }
  }

  private func request(for orders: [Order]) -> (FetchRequest, hasIDs: Bool) {
    var request = FetchRequest(
      maxWaitMs: Int32(clamping: self.configuration.waitMax.wholeMilliseconds),
      minBytes: Int32(clamping: self.configuration.byteCountMin), maxBytes: Int32(clamping: self.configuration.byteCountMax),
      isolationLevel: self.configuration.readCommitted ? 1 : 0)
    var hasIDs = true
    // The order is kept as far as a topic's partitions stand together: the broker fills its answer in it.
    for order in orders {
      let partition = order.partition
      let index = request.topics.lastIndex { $0.topic == partition.topic } ?? request.topics.count
      if index == request.topics.count {
        let id = self.cluster.metadata.topics[partition.topic]?.id ?? .zero
        if id == .zero { hasIDs = false }
        request.topics.append(.init(topic: partition.topic, topicId: id))
      }
      request.topics[index].partitions.append(
        .init(
          partition: partition.partition, currentLeaderEpoch: self.leaderEpoch(of: partition), fetchOffset: order.offset,
          partitionMaxBytes: Int32(clamping: order.byteCountMax)))
    }
    return (request, hasIDs)
  }

  private func fetched(_ orders: [Order], _ response: FetchResponse) {
    if response.errorCode != .none {
      return self.fail(orders.map { ($0, KafkaError(response.errorCode, about: "fetch"), false) })
    }
    for endpoint in response.nodeEndpoints {
      self.cluster.observe(node: endpoint.nodeId, host: endpoint.host, port: endpoint.port, rack: endpoint.rack)
    }
    var answers: [TopicPartition: FetchResponse.PartitionData] = [:]
    for topic in response.responses {
      let name = topic.topic.isEmpty ? self.cluster.metadata.name(of: topic.topicId) ?? "" : topic.topic
      for partition in topic.partitions { answers[TopicPartition(topic: name, partition: partition.partitionIndex)] = partition }
    }
    var failures: [(Order, KafkaError, promptly: Bool)] = []
    var good: [(Order, FetchResponse.PartitionData)] = []
    for order in orders {
      guard let answer = answers[order.partition] else {
        failures.append((order, KafkaError(.connection, "the broker's answer says nothing about \(order.partition)"), false))
        continue
      }
      if answer.errorCode == .none {
        good.append((order, answer))
      } else {
        failures.append((order, Self.refusal(answer, of: order), self.follow(answer, of: order.partition)))
      }
    }
    self.access { state in
      for (order, answer) in good { state.fetched(order, ConsumerState.Fetched(answer), pool: self.pool) }
    }
    self.fail(failures)
  }

  private static func refusal(_ answer: FetchResponse.PartitionData, of order: Order) -> KafkaError {
    if answer.errorCode == .offsetOutOfRange {
      return KafkaError(.offsetOutOfRange, """
        \(order.partition) has no offset \(order.offset): it was deleted, or is beyond the end; \
        start at the earliest or latest offset instead
        """)
    }
    return KafkaError(answer.errorCode, about: "\(order.partition)")
  }

  /// Takes the new leader from a refusal that names it (KIP-951). True if it did.
  private func follow(_ answer: FetchResponse.PartitionData, of partition: TopicPartition) -> Bool {
    let leader = answer.currentLeader
    return self.links.follow(leader: leader.leaderId, leaderEpoch: leader.leaderEpoch, of: partition)
  }
}

extension ConsumerState.Fetched {
  init(_ answer: FetchResponse.PartitionData) {
    var records = ByteBuffer()
    if case .bytes(let bytes)? = answer.records { records = bytes }
    self.init(
      records: records, highWatermark: answer.highWatermark, lastStableOffset: answer.lastStableOffset,
      aborted: (answer.abortedTransactions ?? []).map { ($0.producerId, $0.firstOffset) })
  }
}

extension StartPosition {
  /// How many records before the end, if that is how the start is given.
  var distanceFromEnd: Int64? {
    switch self {
    case .fromEnd(let distance): max(0, distance)
    // A negative offset counts from the end, as in kcat.
    case .offset(let offset): -offset
    case .earliest, .latest, .timestamp: nil
    }
  }

  /// What to ask ListOffsets for first.
  var wireTimestamp: Int64 {
    switch self {
    case .earliest: OffsetSpec.earliest.wireValue
    case .latest, .fromEnd, .offset: OffsetSpec.latest.wireValue
    case .timestamp(let milliseconds): OffsetSpec.timestamp(max(0, milliseconds)).wireValue
    }
  }
}

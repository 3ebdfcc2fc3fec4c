import Base
import Compression
import Model
import NIOCore
import Wire

/// Moves batches from the accumulator to the brokers and their fates back. Everything happens on the cluster client's event loop.
final class ProducerSender: @unchecked Sendable {
  private typealias Batch = ProducerBatch<DeliveryContinuation>

  /// Runs a piece of work under the producer's lock.
  var access: (((inout ProducerState) -> Void) -> Void) = { _ in }

  private let configuration: ProducerConfiguration
  private let cluster: ClusterClient
  private let onDelivery: (@Sendable (DeliveredBatch) -> Void)?
  private let compressor = Compressor()
  private var inFlight: [Int32: Int] = [:]
  private let links: LeaderLinks
  private var generator: SeededGenerator
  private var isAskingForIdentity = false
  private var identityBackoff: Backoff

  init(_ configuration: ProducerConfiguration, _ cluster: ClusterClient, onDelivery: (@Sendable (DeliveredBatch) -> Void)?) {
    (self.configuration, self.cluster, self.onDelivery) = (configuration, cluster, onDelivery)
    var system = SystemRandomNumberGenerator()
    self.generator = SeededGenerator(seed: system.next())
    self.identityBackoff = Backoff(base: configuration.client.retryBackoff, maximum: configuration.client.retryBackoffMax)
    self.links = LeaderLinks(cluster)
    self.links.pump = { [weak self] in self?.pump() }
    self.cluster.onMetadata = { [weak self] in self?.metadataChanged() }
  }

  /// From any thread: there is something to look at.
  func wake() { self.cluster.eventLoop.execute { self.pump() } }

  func stop() { self.links.stop() }

  // MARK: Deciding

  private func pump() {
    if self.links.isStopped { return }
    self.links.disarm()
    let now = MonotonicClock.now()
    var leaders: [Int32] = []
    var reports: [DeliveryReport<DeliveryContinuation>] = []
    var needsIdentity = false
    let reason = self.links.lastFailure.map { "\($0)" } ?? "the partition's leader is not known, or does not answer"
    self.access { state in
      state.isWakePending = false
      state.accumulator.expire(now: now, reason: reason, into: &reports)
      leaders = state.accumulator.readyLeaders(now: now)
      needsIdentity = state.accumulator.needsIdentity
    }
    self.settle(reports)
    if needsIdentity { self.askForIdentity() }
    for leader in leaders { self.serve(leader, now: now) }
    if self.cluster.metadataIsStale, !leaders.isEmpty { self.links.askForMetadata() }
    var deadline: Instant?
    self.access { deadline = $0.accumulator.nextDeadline(now: now) }
    self.links.arm(deadline)
  }

  private func serve(_ leader: Int32, now: Instant) {
    guard self.links.knows(leader) else { return self.links.askForMetadata() }
    guard let connection = self.cluster.openConnection(to: leader) else { return self.links.connect(to: leader) }
    while self.inFlight[leader, default: 0] < self.configuration.inFlightMax {
      var batches: [Batch] = []
      self.access { $0.accumulator.drain(leader: leader, byteCountMax: self.configuration.requestByteCountMax, now: now, into: &batches) }
      if batches.isEmpty { return }
      self.send(batches, to: leader, on: connection)
    }
  }

  // MARK: Sending

  private func send(_ drained: [Batch], to leader: Int32, on connection: BrokerConnection) {
    var batches: [Batch] = []
    for batch in drained {
      var batch = batch
      do {
        try self.encode(&batch)
        batches.append(batch)
      } catch {
        self.complete([(batch, .refused(KafkaError(.invalidArgument, "\(error)"), promptly: true))])
      }
    }
    if batches.isEmpty { return }
    let (request, bodies, hasIDs) = self.request(for: batches)
    self.inFlight[leader, default: 0] += 1
    let expectsAnswer = self.configuration.acknowledgement != .none
    let sent = batches
    // Version 13 names topics by id only, which a broker of before Kafka 2.8 did not tell.
    connection.send(request, notAbove: hasIDs ? 13 : 12, records: bodies, expectsAnswer: expectsAnswer).whenComplete { result in
      self.inFlight[leader, default: 1] -= 1
      switch result {
      case .failure(let error): self.sendFailed(sent, KafkaError(wrapping: error))
      case .success(let response):
        self.links.metadataHelped()
        if expectsAnswer {
          self.answered(sent, response)
        } else {
          self.complete(sent.map { ($0, .written(baseOffset: -1, logAppendTime: -1)) })
        }
      }
      self.pump()
    }
  }

  private func encode(_ batch: inout Batch) throws {
    if batch.encoded == nil {
      batch.encoded = try batch.records.encode(
        codec: self.configuration.compression.codec, level: self.configuration.compressionLevel, identity: batch.identity,
        baseSequence: batch.baseSequence, using: self.compressor)
    } else if batch.needsStamp, let identity = batch.identity {
      OpenBatch.restamp(&batch.encoded!, identity: identity, baseSequence: batch.baseSequence)
    }
    batch.needsStamp = false
  }

  private func request(for batches: [Batch]) -> (ProduceRequest, bodies: [ByteBuffer], hasIDs: Bool) {
    var request = ProduceRequest(
      acks: self.configuration.acknowledgement.rawValue,
      timeoutMs: Int32(clamping: self.configuration.client.requestTimeout.wholeMilliseconds))
    var bodies: [ByteBuffer] = []
    var hasIDs = true
    for batch in batches.sorted(by: { $0.partition.topic < $1.partition.topic }) {
      let body = batch.encoded ?? ByteBuffer()
      if request.topicData.last?.name != batch.partition.topic {
        let id = self.cluster.metadata.topics[batch.partition.topic]?.id ?? .zero
        if id == .zero { hasIDs = false }
        request.topicData.append(.init(name: batch.partition.topic, topicId: id))
      }
      request.topicData[request.topicData.count - 1].partitionData.append(
        .init(index: batch.partition.partition, records: .external(byteCount: body.readableBytes)))
      bodies.append(body)
    }
    return (request, bodies, hasIDs)
  }

  // MARK: Answers

  private func sendFailed(_ batches: [Batch], _ error: KafkaError) {
    self.links.lastFailure = error
    self.complete(batches.map { ($0, .refused(error, promptly: false)) })
    if error.isRetriable { self.links.askForMetadata() }
  }

  private func answered(_ batches: [Batch], _ response: ProduceResponse) {
    for endpoint in response.nodeEndpoints {
      self.cluster.observe(node: endpoint.nodeId, host: endpoint.host, port: endpoint.port, rack: endpoint.rack)
    }
    var answers: [TopicPartition: ProduceResponse.PartitionProduceResponse] = [:]
    for topic in response.responses {
      let name = topic.name.isEmpty ? self.cluster.metadata.name(of: topic.topicId) ?? "" : topic.name
      for partition in topic.partitionResponses { answers[TopicPartition(topic: name, partition: partition.index)] = partition }
    }
    var outcomes: [(Batch, BatchOutcome)] = []
    var needsMetadata = false
    for batch in batches {
      guard let answer = answers[batch.partition] else {
        let error = KafkaError(.connection, "the broker's answer says nothing about \(batch.partition)")
        outcomes.append((batch, .refused(error, promptly: false)))
        needsMetadata = true
        continue
      }
      if answer.errorCode == .none {
        outcomes.append((batch, .written(baseOffset: answer.baseOffset, logAppendTime: answer.logAppendTimeMs)))
        continue
      }
      let error = Self.refusal(answer, of: batch.partition)
      self.links.lastFailure = error
      let promptly = self.follow(answer, of: batch.partition)
      if error.isRetriable, !promptly { needsMetadata = true }
      outcomes.append((batch, .refused(error, promptly: promptly)))
    }
    self.complete(outcomes)
    if needsMetadata { self.links.askForMetadata() }
  }

  private static func refusal(
    _ answer: ProduceResponse.PartitionProduceResponse, of partition: TopicPartition
  ) -> KafkaError {
    let ofRecord = answer.recordErrors.first?.batchIndexErrorMessage
    return KafkaError(answer.errorCode, (ofRecord ?? answer.errorMessage).map { "\(partition): \($0)" }, about: "\(partition)")
  }

  /// Takes the new leader from a refusal that names it (KIP-951). True if it did and the leader can be asked at once.
  private func follow(_ answer: ProduceResponse.PartitionProduceResponse, of partition: TopicPartition) -> Bool {
    let leader = answer.currentLeader
    guard self.links.follow(leader: leader.leaderId, leaderEpoch: leader.leaderEpoch, of: partition) else { return false }
    self.access { $0.update(partition.topic, from: self.cluster.metadata) }
    return true
  }

  private func complete(_ outcomes: [(Batch, BatchOutcome)]) {
    let now = MonotonicClock.now()
    var reports: [DeliveryReport<DeliveryContinuation>] = []
    let jitter = Double.random(in: 0.8...1.2, using: &self.generator)
    self.access { state in
      for (batch, outcome) in outcomes {
        if let report = state.accumulator.complete(batch, outcome, now: now, jitter: jitter) { reports.append(report) }
      }
    }
    self.settle(reports)
  }

  /// Tells everybody who waits.
  private func settle(_ reports: [DeliveryReport<DeliveryContinuation>]) {
    if reports.isEmpty { return }
    for report in reports {
      for (index, waiter) in report.waiters {
        waiter.resume(returning: report.result.map { place in
          RecordMetadata(
            partition: report.partition, offset: place.baseOffset < 0 ? -1 : place.baseOffset + Int64(index),
            logAppendTime: place.logAppendTime)
        })
      }
      self.onDelivery?(DeliveredBatch(
        partition: report.partition, recordCount: Int(report.recordCount), byteCount: report.byteCount,
        result: report.result.map(\.baseOffset)))
    }
    var flushed: [UnsafeContinuation<Void, Never>] = []
    var room: [UnsafeContinuation<Bool, Never>] = []
    self.access { state in
      for report in reports { flushed += state.settle(batchID: report.batchID) }
      if state.accumulator.byteCount * 2 < self.configuration.bufferByteCount { room = state.takeRoomWaiters() }
    }
    for waiter in flushed { waiter.resume() }
    for waiter in room { waiter.resume(returning: true) }
  }

  // MARK: Metadata and identity

  private func metadataChanged() {
    self.access { state in for topic in state.topicNames { state.update(topic, from: self.cluster.metadata) } }
    self.pump()
  }

  private func askForIdentity() {
    guard !self.isAskingForIdentity else { return }
    self.isAskingForIdentity = true
    let request = InitProducerIdRequest(transactionalId: nil, transactionTimeoutMs: .max)
    self.cluster.anyConnection().flatMap { $0.send(request) }.whenComplete { result in
      var failure: KafkaError?
      switch result {
      case .failure(let error): failure = KafkaError(wrapping: error)
      case .success(let response) where response.errorCode != .none: failure = KafkaError(response.errorCode, about: "producer id")
      case .success(let response):
        self.isAskingForIdentity = false
        self.identityBackoff.reset()
        self.access {
          $0.accumulator.identity = ProducerIdentity(producerID: response.producerId, producerEpoch: response.producerEpoch)
        }
        return self.pump()
      }
      self.links.lastFailure = failure
      if let failure, !failure.isRetriable {
        // Nothing can be sent ever: a broker before 0.11, or one that does not allow it.
        var reports: [DeliveryReport<DeliveryContinuation>] = []
        self.access { $0.accumulator.failQueued(failure, into: &reports) }
        self.settle(reports)
      }
      self.cluster.eventLoop.scheduleTask(in: self.cluster.delay(&self.identityBackoff)) {
        self.isAskingForIdentity = false
        self.pump()
      }
    }
  }
}

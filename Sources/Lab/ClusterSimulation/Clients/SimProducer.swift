import Base
import Compression
import Environment
import Model
import NIOCore
import Peers
import Records
import Synchronization
import VirtualWorld
import Wire

/// A producer as Kafka's own clients behave: batches in flight on one connection to each leader, sent again when a refusal or a broken
/// connection leaves their fate open, in their order where they have sequence numbers. It never gives up.
final class SimProducer: Sendable {
  struct Batch: Sendable {
    var span: RecordSpan
    /// Without producer id and sequence until it is sent first.
    var bytes: ByteBuffer?
    var sequence: Int32 = -1
    var attempts = 0
    var isInFlight = false
  }
  /// One partition's batches that are not acknowledged yet, in their order.
  struct Line: Sendable {
    var partition: TopicPartition
    var batches: [Batch] = []
    var nextSequence: Int32 = 0
    var retryAt = Instant.origin
  }
  struct Identity: Sendable {
    var id: ProducerID
    var epoch: ProducerEpoch
  }
  private struct State: Sendable {
    var lines: [Line]
    var nextNumber: UInt32 = 0
    var identity: Identity?
    var isAskingForIdentity = false
    var isStopped = false
    var isPumpPlanned = false
    var generator: SeededGenerator
    var lastAcknowledged = Instant.origin
  }

  let plan: SimulationPlan.Producer
  let client: SimClient
  let ledger: Ledger
  private let state: Mutex<State>
  /// Batches of one partition that wait at most: then it makes no more.
  private static var lineMax: Int { 20 }

  init(_ plan: SimulationPlan.Producer, _ client: SimClient, _ ledger: Ledger, seed: UInt64) {
    self.plan = plan
    self.client = client
    self.ledger = ledger
    self.state = Mutex(State(lines: plan.partitions.map { Line(partition: $0) }, generator: SeededGenerator(seed: seed)))
  }

  func start() {
    guard !self.plan.partitions.isEmpty else { return }
    self.client.start { self.pump() }
    self.round()
  }

  /// Makes no new records; what is there is sent until it is acknowledged.
  func stop() { self.state.withLock { $0.isStopped = true } }
  var openCount: Int { self.state.withLock { $0.lines.reduce(0) { $0 + $1.batches.count } } }
  /// When the last acknowledgement came, in true time.
  var lastAcknowledged: Instant { self.state.withLock { $0.lastAcknowledged } }

  // MARK: - Making records

  private func round() {
    let delay: Int64? = self.state.withLock { state in
      if state.isStopped { return nil }
      for _ in 0..<Int.random(in: self.plan.batchesPerRound, using: &state.generator) {
        let line = Int.random(in: 0..<state.lines.count, using: &state.generator)
        guard state.lines[line].batches.count < Self.lineMax else { continue }
        let count = Int.random(in: self.plan.recordsPerBatch, using: &state.generator)
        let span = RecordSpan(producer: self.plan.number, first: state.nextNumber, count: Int32(count))
        state.nextNumber += UInt32(count)
        state.lines[line].batches.append(Batch(span: span))
        self.ledger.makes(span, for: state.lines[line].partition, self.plan)
      }
      return Int64.random(in: self.plan.interval, using: &state.generator)
    }
    guard let delay else { return }
    self.pump()
    _ = self.client.environment.schedule(after: .nanoseconds(delay)) { self.round() }
  }

  private func encode(_ batch: Batch, _ identity: Identity?) -> ByteBuffer {
    var builder = RecordBatchBuilder(
      RecordBatchBuilder.Attributes(
        producerID: identity?.id ?? .none, producerEpoch: identity?.epoch ?? .none, baseSequence: identity == nil ? -1 : batch.sequence))
    let now = self.client.environment.wallClock()
    do {
      for delta in 0..<UInt32(batch.span.count) {
        let value = RecordID(producer: batch.span.producer, number: batch.span.first + delta).value(byteCountMax: self.plan.valueBytesMax)
        try builder.append(timestamp: now, key: nil, value: value)
      }
      return try builder.finish(using: Compressor())
    } catch { fatalError("a batch cannot be made: \(error)") }
  }

  // MARK: - Sending

  /// Sends what may be sent now, in one request for each leader.
  private func pump() {
    if self.plan.isIdempotent, !self.hasIdentity() { return }
    let view = self.client.view
    let now = self.client.environment.now()
    var requests: [(node: NodeID, parts: [(line: Int, batch: Batch)])] = []
    var (needsMetadata, wakeAt) = (false, Instant.distantFuture)
    self.state.withLock { state in
      for line in state.lines.indices {
        guard let index = Self.next(state.lines[line], inFlightMax: self.plan.inFlightMax) else { continue }
        if state.lines[line].retryAt > now {
          wakeAt = min(wakeAt, state.lines[line].retryAt)
          continue
        }
        guard let leader = view[state.lines[line].partition]?.leader, leader != .none, view.addresses[leader] != nil else {
          needsMetadata = true
          continue
        }
        let batch = self.prepare(line, index, &state)
        if let place = requests.firstIndex(where: { $0.node == leader }) {
          requests[place].parts.append((line, batch))
        } else {
          requests.append((leader, [(line, batch)]))
        }
      }
    }
    for request in requests { self.send(request.parts, to: request.node, view) }
    if needsMetadata { self.client.askForMetadata() }
    if wakeAt != .distantFuture { self.planPump(after: wakeAt - now) }
    // A line may have more to send: one batch of each goes into a request.
    if !requests.isEmpty { self.pump() }
  }

  /// Which batch of a line may go next. One that goes again is alone in flight, so that none overtakes it.
  ///
  /// No batch goes that is further from the first which is not acknowledged than there may be in flight: leaders know again a producer's
  /// last five only, and that one may wait at a leader that is cut off while another takes what comes behind it.
  private static func next(_ line: Line, inFlightMax: Int) -> Int? {
    guard let index = line.batches.firstIndex(where: { !$0.isInFlight }), index < inFlightMax else { return nil }
    return line.batches[index].attempts > 0 && index > 0 ? nil : index
  }

  private func prepare(_ line: Int, _ index: Int, _ state: inout State) -> Batch {
    var batch = state.lines[line].batches[index]
    if batch.bytes == nil {
      if state.identity != nil {
        batch.sequence = state.lines[line].nextSequence
        state.lines[line].nextSequence += batch.span.count
      }
      batch.bytes = self.encode(batch, state.identity)
    }
    batch.attempts += 1
    batch.isInFlight = true
    state.lines[line].batches[index] = batch
    return batch
  }

  private func send(_ parts: [(line: Int, batch: Batch)], to node: NodeID, _ view: ClusterView) {
    guard let peer = self.client.peer(of: node) else { return }
    let timeout = self.plan.requestTimeout
    var request = ProduceRequest(acks: self.plan.acks, timeoutMs: Int32(clamping: timeout.wholeMilliseconds * 3 / 4))
    for (line, batch) in parts {
      let partition = self.partition(line)
      let attempt = self.ledger.sends(batch.span)
      self.client.board.count(attempt == 1 ? .sent : .resent)
      self.client.board.record(.sent(batch.span, partition, to: node, attempt: attempt), self.client.subject)
      if request.topicData.last?.name != partition.topic {
        request.topicData.append(.init(name: partition.topic, topicId: view.topics[partition.topic]?.id ?? .zero))
      }
      request.topicData[request.topicData.count - 1].partitionData.append(
        .init(index: partition.partition.rawValue, records: .bytes(batch.bytes ?? ByteBuffer())))
    }
    peer.call(request, timeout: timeout) { result in
      switch result {
      case .success(let response): self.answered(parts, response)
      case .failure(let error): for (line, batch) in parts { self.failed(line, batch.span, "\(error)", promptly: false, isOpen: true) }
      }
      self.pump()
    }
  }

  private func partition(_ line: Int) -> TopicPartition { self.plan.partitions[line] }

  private func planPump(after delay: Duration) {
    let mustPlan = self.state.withLock { state in
      defer { state.isPumpPlanned = true }
      return !state.isPumpPlanned
    }
    guard mustPlan else { return }
    _ = self.client.environment.schedule(after: delay) {
      self.state.withLock { $0.isPumpPlanned = false }
      self.pump()
    }
  }

  // MARK: - Answers

  private func answered(_ parts: [(line: Int, batch: Batch)], _ response: ProduceResponse) {
    for endpoint in response.nodeEndpoints { self.client.note(endpoint.nodeId, endpoint.host, endpoint.port) }
    let view = self.client.view
    for (line, batch) in parts {
      let partition = self.partition(line)
      let id = view.topics[partition.topic]?.id
      let topic = response.responses.first { $0.name == partition.topic || $0.topicId == id && $0.topicId != .zero }
      guard let answer = topic?.partitionResponses.first(where: { $0.index == partition.partition.rawValue }) else {
        self.client.board.violate(.process, "a produce of \(batch.span) to \(partition) was answered without a word about it")
        continue
      }
      switch answer.errorCode {
      case .none: self.acknowledged(line, batch.span, Offset(answer.baseOffset))
      case .duplicateSequenceNumber:
        self.client.board.count(.duplicateAnswer)
        self.acknowledged(line, batch.span, .unknown)
      default: self.refused(line, batch, answer)
      }
    }
  }

  private func acknowledged(_ line: Int, _ span: RecordSpan, _ offset: Offset) {
    self.client.board.count(self.plan.acks == -1 ? .acknowledged : .acknowledgedByLeader)
    self.client.board.record(.acknowledged(span, self.partition(line), offset, acks: self.plan.acks), self.client.subject)
    let now = self.client.environment.worldTime
    self.state.withLock { state in
      state.lines[line].batches.removeAll { $0.span == span }
      state.lastAcknowledged = now
    }
    self.ledger.acknowledged(span, at: offset, now: now)
  }

  private func refused(_ line: Int, _ batch: Batch, _ answer: ProduceResponse.PartitionProduceResponse) {
    let partition = self.partition(line)
    let promptly = self.client.follow(leader: answer.currentLeader.leaderId, epoch: answer.currentLeader.leaderEpoch, of: partition)
    switch answer.errorCode {
    case .outOfOrderSequenceNumber where self.isFirst(line, batch.span), .unknownProducerId, .invalidProducerEpoch:
      // Everything before it was acknowledged, so that the node should know it.
      self.client.board.violate(
        .durability, "\(partition) refuses \(batch.span), sequence \(batch.sequence), whose predecessors it has acknowledged: "
          + "\(answer.errorCode) \(answer.errorMessage ?? "")")
      self.failed(line, batch.span, "\(answer.errorCode)", promptly: false, isOpen: false)
    case .notLeaderOrFollower, .unknownTopicOrPartition, .unknownTopicId, .leaderNotAvailable, .kafkaStorageError, .notEnoughReplicas,
      .notEnoughReplicasAfterAppend, .requestTimedOut, .fencedLeaderEpoch, .unknownLeaderEpoch, .replicaNotAvailable, .brokerNotAvailable,
      .networkException, .outOfOrderSequenceNumber, .notController:
      let isOpen = [.notEnoughReplicasAfterAppend, .requestTimedOut, .notLeaderOrFollower, .kafkaStorageError].contains(answer.errorCode)
      self.failed(line, batch.span, "\(answer.errorCode)", promptly: promptly, isOpen: isOpen)
    default:
      self.client.board.violate(.process, "\(partition) refuses \(batch.span): \(answer.errorCode) \(answer.errorMessage ?? "")")
      self.failed(line, batch.span, "\(answer.errorCode)", promptly: false, isOpen: true)
    }
  }

  private func isFirst(_ line: Int, _ span: RecordSpan) -> Bool { self.state.withLock { $0.lines[line].batches.first?.span == span } }

  /// The batch is sent again: at once where the leader is known, else after a while.
  private func failed(_ line: Int, _ span: RecordSpan, _ why: String, promptly: Bool, isOpen: Bool) {
    self.client.board.count(.refused)
    self.client.board.record(.refused(span, self.partition(line), why), self.client.subject)
    let now = self.client.environment.now()
    self.state.withLock { state in
      if let index = state.lines[line].batches.firstIndex(where: { $0.span == span }) {
        state.lines[line].batches[index].isInFlight = false
      }
      state.lines[line].retryAt = promptly ? now : now + .milliseconds(Int64.random(in: 20...100, using: &state.generator))
    }
    if !promptly { self.client.askForMetadata() }
  }

  // MARK: - Identity

  private func hasIdentity() -> Bool {
    let (has, mustAsk) = self.state.withLock { state in
      defer { state.isAskingForIdentity = true }
      return (state.identity != nil, state.identity == nil && !state.isAskingForIdentity)
    }
    if mustAsk { self.askForIdentity() }
    return has
  }

  private func askForIdentity() {
    let request = InitProducerIdRequest(transactionalId: nil, transactionTimeoutMs: .max)
    self.client.anyPeer().call(request, timeout: .seconds(2)) { result in
      if case .success(let response) = result, response.errorCode == .none {
        self.state.withLock {
          $0.identity = Identity(id: ProducerID(response.producerId), epoch: ProducerEpoch(response.producerEpoch))
        }
        return self.pump()
      }
      _ = self.client.environment.schedule(after: .milliseconds(self.client.random(30...150))) { self.askForIdentity() }
    }
  }
}

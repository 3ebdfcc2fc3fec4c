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

/// A consumer that reads partitions from their beginning for as long as it runs, one fetch at a time from each leader, and checks all that
/// it is told: no gap, the bytes that were sent, leader epochs that never go down, and an end of the log that is never behind what was
/// acknowledged or read before it was asked for.
final class SimConsumer: Sendable {
  /// A record as it was read.
  struct ReadRecord: Sendable {
    var offset: Offset
    var id: RecordID
    var epoch: LeaderEpoch
  }
  private struct Line: Sendable {
    var partition: TopicPartition
    var position = Offset.zero
    /// Of the last record that was read.
    var epoch = LeaderEpoch.unknown
    var highWatermark = Offset.zero
    /// Whose watermark that was.
    var watermarkEpoch = LeaderEpoch.unknown
    /// The last answer had everything there was.
    var isAtEnd = false
    var retryAt = Instant.origin
    var isInFlight = false
    /// What was read, where that is kept.
    var records: [ReadRecord] = []
  }
  private struct State: Sendable {
    var lines: [Line]
    /// Nodes that a fetch waits at.
    var asking: Set<NodeID> = []
    var isStopped = false
    var isPumpPlanned = false
  }

  let client: SimClient
  private let ledger: Ledger
  /// Whether what is read is kept, for an audit.
  private let keepsRecords: Bool
  private let state: Mutex<State>

  init(_ client: SimClient, _ partitions: [TopicPartition], _ ledger: Ledger, keepsRecords: Bool = false) {
    self.client = client
    self.ledger = ledger
    self.keepsRecords = keepsRecords
    self.state = Mutex(State(lines: partitions.map { Line(partition: $0) }))
  }

  func start() {
    self.client.start { self.pump() }
    self.planLatest()
  }

  func stop() { self.state.withLock { $0.isStopped = true } }

  /// Whether everything that is committed has been read.
  var isAtEnd: Bool {
    self.state.withLock { state in state.lines.allSatisfy { $0.isAtEnd && $0.position >= self.ledger.committedEnd(of: $0.partition) } }
  }

  var positions: [(partition: TopicPartition, position: Offset, highWatermark: Offset)] {
    self.state.withLock { $0.lines.map { ($0.partition, $0.position, $0.highWatermark) } }
  }

  func records(of partition: TopicPartition) -> [ReadRecord] {
    self.state.withLock { $0.lines.first { $0.partition == partition }?.records ?? [] }
  }

  // MARK: - Fetching

  private struct Order: Sendable {
    var line: Int
    var partition: TopicPartition
    var position: Offset
    /// The leader's that is asked, which refuses if it is another.
    var leaderEpoch: LeaderEpoch
  }

  private func pump() {
    let view = self.client.view
    let now = self.client.environment.now()
    var requests: [(node: NodeID, orders: [Order])] = []
    var (needsMetadata, wakeAt) = (false, Instant.distantFuture)
    self.state.withLock { state in
      if state.isStopped { return }
      for index in state.lines.indices where !state.lines[index].isInFlight {
        if state.lines[index].retryAt > now {
          wakeAt = min(wakeAt, state.lines[index].retryAt)
          continue
        }
        guard let known = view[state.lines[index].partition], known.leader != .none, view.addresses[known.leader] != nil else {
          needsMetadata = true
          continue
        }
        let leader = known.leader
        if state.asking.contains(leader) { continue }
        let order = Order(
          line: index, partition: state.lines[index].partition, position: state.lines[index].position, leaderEpoch: known.epoch)
        if let place = requests.firstIndex(where: { $0.node == leader }) {
          requests[place].orders.append(order)
        } else {
          requests.append((leader, [order]))
        }
      }
      for request in requests {
        state.asking.insert(request.node)
        for order in request.orders { state.lines[order.line].isInFlight = true }
      }
    }
    for request in requests { self.fetch(request.orders, from: request.node, view) }
    if needsMetadata { self.client.askForMetadata() }
    if wakeAt != .distantFuture { self.planPump(after: wakeAt - now) }
  }

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

  private func fetch(_ orders: [Order], from node: NodeID, _ view: ClusterView) {
    guard let peer = self.client.peer(of: node) else { return }
    var request = FetchRequest(maxWaitMs: 400, minBytes: 1, maxBytes: 1 << 20, sessionEpoch: -1)
    for order in orders {
      if request.topics.last?.topic != order.partition.topic {
        request.topics.append(.init(topic: order.partition.topic, topicId: view.topics[order.partition.topic]?.id ?? .zero))
      }
      request.topics[request.topics.count - 1].partitions.append(
        .init(
          partition: order.partition.partition.rawValue, currentLeaderEpoch: order.leaderEpoch.rawValue,
          fetchOffset: order.position.rawValue, lastFetchedEpoch: self.state.withLock { $0.lines[order.line].epoch.rawValue },
          partitionMaxBytes: 1 << 16))
    }
    peer.call(request, timeout: .seconds(2)) { result in
      self.state.withLock { state in
        state.asking.remove(node)
        for order in orders { state.lines[order.line].isInFlight = false }
      }
      switch result {
      case .failure:
        for order in orders { self.failed(order, promptly: false) }
      case .success(let response):
        for endpoint in response.nodeEndpoints { self.client.note(endpoint.nodeId, endpoint.host, endpoint.port) }
        self.fetched(orders, response, node)
      }
      self.pump()
    }
  }

  private func failed(_ order: Order, promptly: Bool) {
    let now = self.client.environment.now()
    let delay = self.client.random(20...100)
    self.state.withLock { state in
      state.lines[order.line].isAtEnd = false
      state.lines[order.line].retryAt = promptly ? now : now + .milliseconds(delay)
    }
    if !promptly { self.client.askForMetadata() }
  }

  private func fetched(_ orders: [Order], _ response: FetchResponse, _ node: NodeID) {
    let view = self.client.view
    for order in orders {
      let topic = response.responses.first {
        $0.topic == order.partition.topic || $0.topicId == view.topics[order.partition.topic]?.id && $0.topicId != .zero
      }
      guard response.errorCode == .none,
        let answer = topic?.partitions.first(where: { $0.partitionIndex == order.partition.partition.rawValue })
      else {
        self.failed(order, promptly: false)
        continue
      }
      guard answer.errorCode == .none, answer.divergingEpoch.endOffset < 0 else {
        self.refused(order, answer, node)
        continue
      }
      self.take(order, answer, node)
    }
  }

  private func refused(_ order: Order, _ answer: FetchResponse.PartitionData, _ node: NodeID) {
    if answer.errorCode == .offsetOutOfRange || answer.divergingEpoch.endOffset >= 0 {
      if self.ledger.isUnclean(order.partition) { return self.goBack(order, to: max(0, answer.divergingEpoch.endOffset)) }
      // It has read, as committed, everything below.
      self.client.board.violate(
        .committedStays, "\(self.client.name) has read \(order.partition) up to \(order.position), and node \(node) says "
          + (answer.errorCode == .none ? "that the logs part at \(answer.divergingEpoch.endOffset)" : "\(answer.errorCode)"))
    }
    let promptly = self.client.follow(leader: answer.currentLeader.leaderId, epoch: answer.currentLeader.leaderEpoch, of: order.partition)
    self.failed(order, promptly: promptly)
  }

  /// Records that it has read are no more.
  private func goBack(_ order: Order, to offset: Int64) {
    self.client.board.record(.note("goes back in \(order.partition) from \(order.position) to \(offset)"), self.client.subject)
    let end = Offset(offset)
    self.state.withLock { state in
      (state.lines[order.line].position, state.lines[order.line].isAtEnd) = (end, false)
      (state.lines[order.line].highWatermark, state.lines[order.line].epoch) = (.zero, .unknown)
      state.lines[order.line].records.removeAll { $0.offset >= end }
    }
  }

  // MARK: - Reading

  private func take(_ order: Order, _ answer: FetchResponse.PartitionData, _ node: NodeID) {
    guard case .bytes(let bytes)? = answer.records else { return }
    var batches = BatchSequence(bytes)
    var position = order.position
    var epoch = self.state.withLock { $0.lines[order.line].epoch }
    var records: [ReadRecord] = []
    let decompressor = Decompressor()
    do throws(RecordError) {
      while let batch = try batches.next() {
        if batch.header.nextOffset <= position { continue }
        if batch.header.partitionLeaderEpoch < epoch {
          self.client.board.violate(
            .committedStays, "\(order.partition) has a batch of epoch \(batch.header.partitionLeaderEpoch) at \(batch.header.baseOffset), "
              + "behind one of epoch \(epoch)")
        }
        epoch = batch.header.partitionLeaderEpoch
        if batch.header.nextOffset > Offset(answer.highWatermark) {
          self.client.board.violate(
            .committedStays, "node \(node) gives records of \(order.partition) up to \(batch.header.nextOffset), beyond the high watermark "
              + "\(answer.highWatermark)")
        }
        var iterator = try batch.records(using: decompressor)
        while let record = try iterator.next() {
          if record.offset < position { continue }
          if record.offset > position { self.gap(order, at: position, before: record.offset, node) }
          guard let value = record.value, let id = RecordID(of: value) else {
            self.client.board.violate(
              .content, "\(order.partition) has a record at \(record.offset) that nobody sent, read from node \(node)")
            return
          }
          records.append(ReadRecord(offset: record.offset, id: id, epoch: epoch))
          position = record.offset + 1
        }
        position = max(position, batch.header.nextOffset)
      }
    } catch {
      self.client.board.violate(.content, "\(order.partition) at \(position), read from node \(node): \(error)")
      return
    }
    self.note(order, position, epoch, records, Offset(answer.highWatermark), node)
  }

  private func gap(_ order: Order, at position: Offset, before offset: Offset, _ node: NodeID) {
    self.client.board.violate(.durability, "\(order.partition) goes on at \(offset) behind \(position), read from node \(node)")
  }

  private func note(
    _ order: Order, _ position: Offset, _ epoch: LeaderEpoch, _ records: [ReadRecord], _ highWatermark: Offset, _ node: NodeID
  ) {
    let now = self.client.environment.worldTime
    // A new leader learns of the last commitments of the one before only from its followers, and may tell a consumer that is behind of
    // less than that one did. One leader never takes anything back, and none tells of an end that lies before what was read.
    let former = self.state.withLock { state in
      let line = state.lines[order.line]
      (state.lines[order.line].highWatermark, state.lines[order.line].watermarkEpoch) = (highWatermark, order.leaderEpoch)
      return line.watermarkEpoch == order.leaderEpoch ? max(line.highWatermark, order.position) : order.position
    }
    if highWatermark < former, !self.ledger.isUnclean(order.partition) {
      self.client.board.violate(
        .freshness, "the high watermark of \(order.partition) went from \(former) back to \(highWatermark), seen by \(self.client.name) on "
          + "node \(node)")
    }
    self.state.withLock { state in
      state.lines[order.line].position = position
      state.lines[order.line].epoch = epoch
      state.lines[order.line].isAtEnd = position >= highWatermark
      if self.keepsRecords { state.lines[order.line].records += records }
    }
    guard !records.isEmpty else { return }
    self.client.board.count(self.keepsRecords ? .readAgain : .read, UInt64(records.count))
    if !self.keepsRecords {
      self.client.board.record(.read(order.partition, from: order.position, to: position, by: node), self.client.subject)
    }
    for record in records {
      self.ledger.read(record.id, at: record.offset, of: order.partition, from: node, by: self.client.name, now: now)
    }
  }

  // MARK: - The latest offset

  private func planLatest() {
    _ = self.client.environment.schedule(after: .milliseconds(self.client.random(200...1_500))) {
      if self.state.withLock({ $0.isStopped }) { return }
      self.askLatest()
      self.planLatest()
    }
  }

  /// Asks a leader where the log ends. What is committed when the question is put must be below the answer.
  private func askLatest() {
    let count = self.state.withLock { Int64($0.lines.count) }
    let partition = self.state.withLock { $0.lines }[Int(self.client.random(0...count - 1))].partition
    let view = self.client.view
    guard let known = view[partition], let peer = self.client.peer(of: known.leader) else { return }
    let end = self.ledger.committedEnd(of: partition)
    let asked = self.client.environment.worldTime
    let request = ListOffsetsRequest(
      replicaId: -1,
      topics: [
        .init(
          name: partition.topic,
          partitions: [.init(partitionIndex: partition.partition.rawValue, currentLeaderEpoch: known.epoch.rawValue, timestamp: -1)])
      ])
    self.client.board.count(.latestAsked)
    peer.call(request, timeout: .seconds(2)) { result in
      guard case .success(let response) = result, let answer = response.topics.first?.partitions.first, answer.errorCode == .none else {
        return self.client.board.count(.latestRefused)
      }
      if Offset(answer.offset) < end {
        self.client.board.violate(
          .freshness, "node \(known.leader) says that \(partition) ends at \(answer.offset), asked at "
            + "\(asked.nanoseconds / 1_000_000) ms, when what is below \(end) had been acknowledged or read")
      }
    }
  }
}

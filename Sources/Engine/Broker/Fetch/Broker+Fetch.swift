import Base
import Environment
import Metadata
import Model
import NIOCore
import Replication
import Storage
import Wire

// Fetch (KIP-74, KIP-227, KIP-320, KIP-516): reads partitions up to the high watermark, at once or when there is enough.
extension Broker {
  func handleFetch(_ exchange: Exchange<Env.Disk.File>, _ request: FetchRequest) {
    if let replica = Self.replica(request, exchange.version) { return self.handleFollowerFetch(exchange, request, from: replica) }
    if let fetch = MetadataFetch(request, bytesMax: self.config.fetchBytesMax) { return self.handleMetadataFetch(exchange, fetch) }
    let usesTopicIDs = exchange.version >= 13
    let plan = self.fetchSessions.plan(
      sessionID: request.sessionId, epoch: request.sessionEpoch, interests: Self.interests(of: request, usesTopicIDs: usesTopicIDs),
      forgotten: Self.forgotten(of: request, usesTopicIDs: usesTopicIDs), usesTopicIDs: usesTopicIDs, now: self.environment.now())
    if case .refuse(let code) = plan {
      return exchange.respond(FetchResponse(errorCode: code))
    }
    let maxBytes = max(0, min(Int(request.maxBytes), self.config.fetchBytesMax))
    let limits = FetchLimits(
      minBytes: min(Int(request.minBytes), maxBytes), maxBytes: maxBytes,
      maxWait: self.isShuttingDown ? .zero : .milliseconds(Int64(request.maxWaitMs)), isReadCommitted: request.isolationLevel == 1,
      consumer: self.consumer(request, exchange))
    let targets = self.targets(of: plan.interests)
    let reads = FetchReads(targets, limits: limits)
    if limits.maxWait <= .zero || targets.isEmpty || reads.isEnough(limits) {
      return self.answerFetch(exchange, plan: plan, targets: targets, reads: reads, isReadCommitted: limits.isReadCommitted)
    }
    PendingFetch(broker: self, exchange: exchange, plan: plan, targets: targets, limits: limits, reads: reads).start(after: reads)
  }

  /// The broker that fetches as a replica; nil for a consumer.
  static func replica(_ request: FetchRequest, _ version: Int16) -> FetchingReplica? {
    if version < 15 { return request.replicaId < 0 ? nil : FetchingReplica(node: NodeID(request.replicaId), brokerEpoch: .unknown) }
    let state = request.replicaState
    return state.replicaId < 0 ? nil : FetchingReplica(node: NodeID(state.replicaId), brokerEpoch: BrokerEpoch(state.replicaEpoch))
  }

  private func consumer(_ request: FetchRequest, _ exchange: Exchange<Env.Disk.File>) -> FetchingConsumer {
    guard exchange.version >= 11 else { return FetchingConsumer() }
    var consumer = FetchingConsumer(mayReadFollower: true)
    if self.config.readsByRack, !request.rackId.isEmpty {
      consumer.rack = .init(name: request.rackId, leader: self.config.rack, spread: exchange.client.connectionID)
    }
    return consumer
  }

  static func interests(of request: FetchRequest, usesTopicIDs: Bool) -> [FetchInterest] {
    var interests: [FetchInterest] = []
    interests.reserveCapacity(request.topics.reduce(0) { $0 + $1.partitions.count })
    for topic in request.topics {
      let reference: TopicReference = usesTopicIDs ? .id(topic.topicId) : .name(topic.topic)
      for partition in topic.partitions {
        interests.append(
          FetchInterest(
            topic: reference, partition: PartitionID(partition.partition), fetchOffset: Offset(partition.fetchOffset),
            currentLeaderEpoch: LeaderEpoch(partition.currentLeaderEpoch), lastFetchedEpoch: LeaderEpoch(partition.lastFetchedEpoch),
            maxByteCount: max(0, Int(partition.partitionMaxBytes)), logStartOffset: Offset(partition.logStartOffset)))
      }
    }
    return interests
  }

  static func forgotten(of request: FetchRequest, usesTopicIDs: Bool) -> [FetchPartitionKey] {
    request.forgottenTopicsData.flatMap { topic in
      let reference: TopicReference = usesTopicIDs ? .id(topic.topicId) : .name(topic.topic)
      return topic.partitions.map { FetchPartitionKey(topic: reference, partition: PartitionID($0)) }
    }
  }

  private func targets(of interests: [FetchInterest]) -> [FetchTarget<Env>] {
    let catalog = self.catalog
    return interests.map { FetchTarget(interest: $0, partition: catalog.partition($0.topic, $0.partition)) }
  }

  // MARK: - The answer

  /// Answers a fetch with what was read. Called once per fetch, from any thread.
  func answerFetch(
    _ exchange: Exchange<Env.Disk.File>, plan: FetchPlan, targets: [FetchTarget<Env>], reads: FetchReads<Env>, isReadCommitted: Bool
  ) {
    var reads = reads.reads
    let copies = self.copySmall(&reads, targets)

    var response = FetchResponse()
    var isIncluded: [Bool]?
    let outcomes = zip(reads, copies).map { read, copy in
      FetchOutcome(
        highWatermark: read.highWatermark, logStartOffset: read.logStartOffset, hasRecords: read.slice != nil || copy != nil,
        isError: read.error != .none, isDiverging: read.divergence != nil)
    }
    switch plan {
    case .refuse(let code): return exchange.respond(FetchResponse(errorCode: code))
    case .sessionless: break
    case .full:
      let answered = zip(targets, outcomes).map { ($0.interest, $1) }
      response.sessionId = self.fetchSessions.create(answered, usesTopicIDs: exchange.version >= 13, now: self.environment.now())
    case .incremental(let sessionID, let epoch, _):
      let news = self.fetchSessions.news(sessionID: sessionID, epoch: epoch, zip(targets, outcomes).map { ($0.interest.slot, $1) })
      guard let news else { return exchange.respond(FetchResponse(errorCode: .invalidFetchSessionEpoch, sessionId: sessionID)) }
      response.sessionId = sessionID
      isIncluded = news
    }

    self.respond(exchange, response, targets, reads, copies, isReadCommitted: isReadCommitted) { isIncluded?[$0] ?? true }
  }

  /// Sends what was read.
  func respond(
    _ exchange: Exchange<Env.Disk.File>, _ base: FetchResponse, _ targets: [FetchTarget<Env>], _ reads: [FetchRead<Env.Disk.File>],
    _ copies: [ByteBuffer?], isReadCommitted: Bool, where isIncluded: (Int) -> Bool
  ) {
    var response = base
    var slices: [FileSlice<Env.Disk.File>] = []
    for index in reads.indices where isIncluded(index) {
      let target = targets[index]
      var data = self.partitionData(target, reads[index], copies[index], exchange, &response)
      // Nothing is ever aborted yet; null is for those who did not ask.
      data.abortedTransactions = isReadCommitted ? [] : nil
      if let slice = reads[index].slice { slices.append(slice) }
      let (name, id): (String, KafkaUUID) =
        switch target.interest.topic {
        case .name(let name): (name, .zero)
        case .id(let id): ("", id)
        }
      if let last = response.responses.indices.last, response.responses[last].topic == name, response.responses[last].topicId == id {
        response.responses[last].partitions.append(data)
      } else {
        response.responses.append(FetchResponse.FetchableTopicResponse(topic: name, topicId: id, partitions: [data]))
      }
    }
    exchange.respond(response, slices: slices, recordByteCount: copies.reduce(0) { $0 + ($1?.readableBytes ?? 0) })
  }

  /// Reads what is small into memory. That is done before anything else is decided, since it may fail.
  func copySmall(_ reads: inout [FetchRead<Env.Disk.File>], _ targets: [FetchTarget<Env>]) -> [ByteBuffer?] {
    var copies = [ByteBuffer?](repeating: nil, count: reads.count)
    for index in reads.indices {
      guard let slice = reads[index].slice, slice.byteCount <= FetchReads<Env>.copiedByteCountMax else { continue }
      do {
        copies[index] = try slice.file.readWhole(at: slice.position, byteCount: slice.byteCount)
        reads[index].slice = nil
      } catch {
        reads[index] = FetchRead(.kafkaStorageError)
        if case .success(let partition) = targets[index].partition { partition.fail(.disk(error)) }
      }
    }
    return copies
  }

  private func partitionData(
    _ target: FetchTarget<Env>, _ read: FetchRead<Env.Disk.File>, _ copy: ByteBuffer?, _ exchange: Exchange<Env.Disk.File>,
    _ response: inout FetchResponse
  ) -> FetchResponse.PartitionData {
    var data = FetchResponse.PartitionData()
    data.partitionIndex = target.interest.partition.rawValue
    // Clients of those versions do not know the storage error (KIP-112) and look for another leader instead, as they should.
    data.errorCode = read.error == .kafkaStorageError && exchange.version <= 5 ? .notLeaderOrFollower : read.error
    data.highWatermark = read.highWatermark.rawValue
    data.lastStableOffset = read.lastStableOffset.rawValue
    data.logStartOffset = read.logStartOffset.rawValue
    data.records = copy.map { .bytes($0) } ?? .external(byteCount: read.byteCount)
    if let divergence = read.divergence {
      data.divergingEpoch = .init(epoch: divergence.epoch.rawValue, endOffset: divergence.endOffset.rawValue)
    }
    data.preferredReadReplica = read.preferredReadReplica?.rawValue ?? -1
    if exchange.version >= 16, read.error == .notLeaderOrFollower || read.error == .fencedLeaderEpoch,
      let hint = self.leaderHint(target.interest.topic, target.interest.partition)
    {
      // Tells the client whom to ask instead (KIP-951).
      data.currentLeader = .init(leaderId: hint.node.rawValue, leaderEpoch: hint.epoch.rawValue)
      if !response.nodeEndpoints.contains(where: { $0.nodeId == hint.node.rawValue }),
        let endpoint = self.catalog.endpoint(of: hint.node, listener: exchange.client.listener)
      {
        response.nodeEndpoints.append(
          .init(nodeId: endpoint.nodeID.rawValue, host: endpoint.host, port: endpoint.port, rack: endpoint.rack))
      }
    }
    return data
  }
}

extension DiskFile {
  /// `byteCount` bytes from `position`; a file that ends before is an error, since the log says that it does not.
  func readWhole(at position: Int64, byteCount: Int) throws(DiskError) -> ByteBuffer {
    var buffer = ByteBufferAllocator().buffer(capacity: byteCount)
    var failure: DiskError?
    buffer.writeWithUnsafeMutableBytes(minimumWritableBytes: byteCount) { bytes in
      do throws(DiskError) {
        let count = try self.read(into: UnsafeMutableRawBufferPointer(rebasing: bytes[..<byteCount]), at: position)
        if count == byteCount { return count }
        failure = DiskError(
          .io, operation: "read \(byteCount) bytes at \(position) (the file has \(count) of them) of", path: "a segment")
      } catch {
        failure = error
      }
      return 0
    }
    if let failure { throw failure }
    return buffer
  }
}

import Base
import Environment
import Metadata
import Model
import NIOCore
import Records
import Replication
import Wire

// Produce: validates batches where they lie, appends them, and answers at once (acks 0 and 1) or when they are committed (acks all).
extension Broker {
  func handleProduce(_ exchange: Exchange<Env.Disk.File>, _ request: ProduceRequest) {
    if self.handover.isActive { return self.handOver(exchange, request) }
    self.serveProduce(exchange, request)
  }

  /// Appends where this broker leads, and refuses the rest.
  func serveProduce(_ exchange: Exchange<Env.Disk.File>, _ request: ProduceRequest) {
    let catalog = self.catalog
    let usesTopicIDs = exchange.version >= 13
    var response = ProduceResponse()
    response.responses.reserveCapacity(request.topicData.count)
    var waits: [PendingProduce<Env>.Place] = []
    for topicData in request.topicData {
      let reference: TopicReference = usesTopicIDs ? .id(topicData.topicId) : .name(topicData.name)
      let topic = catalog.topic(reference)
      var answered = ProduceResponse.TopicProduceResponse(name: topicData.name, topicId: topicData.topicId)
      answered.partitionResponses.reserveCapacity(topicData.partitionData.count)
      for partitionData in topicData.partitionData {
        var partition = ProduceResponse.PartitionProduceResponse(index: partitionData.index, baseOffset: -1)
        if let topic {
          self.produce(
            partitionData, request, topic, exchange, &partition, &waits, topicIndex: response.responses.count,
            answered.partitionResponses.count)
        } else {
          partition.fail(Catalog<Env>.unknownTopicCode(reference))
        }
        if partition.errorCode == .notLeaderOrFollower || partition.errorCode == .fencedLeaderEpoch {
          self.nameLeader(of: reference, PartitionID(partitionData.index), exchange, &partition, &response)
        }
        answered.partitionResponses.append(partition)
      }
      response.responses.append(answered)
    }
    if request.acks == 0 { return self.endUnacknowledged(exchange, response) }
    if waits.isEmpty { return exchange.respond(response) }
    PendingProduce(broker: self, exchange: exchange, response: response, places: waits)
      .start(timeout: .milliseconds(Int64(max(0, request.timeoutMs))), now: self.environment.now())
  }

  private func produce(
    _ data: ProduceRequest.PartitionProduceData, _ request: ProduceRequest, _ topic: HostedTopic<Env>,
    _ exchange: Exchange<Env.Disk.File>,
    _ answer: inout ProduceResponse.PartitionProduceResponse, _ waits: inout [PendingProduce<Env>.Place], topicIndex: Int,
    _ partitionIndex: Int
  ) {
    guard (-1...1).contains(request.acks) else { return answer.fail(.invalidRequiredAcks) }
    let partition: Partition<Env>
    switch topic.partition(PartitionID(data.index)) {
    case .success(let found): partition = found
    case .failure(let refusal): return answer.fail(refusal.code)
    }
    if HostedTopic<Env>.isInternal(topic.name) {
      return answer.fail(.invalidTopicException, "Only the broker itself writes to the internal topic \(topic.name).")
    }
    guard case .bytes(let records)? = data.records else {
      return answer.fail(.invalidRecord, "The partition's records are empty: exactly one record batch is expected.")
    }
    let batch: ValidatedBatch
    do throws(BatchRefusal) {
      batch = try self.workspaces.withWorkspace(near: exchange.client.connectionID) { workspace throws(BatchRefusal) in
        let batch = try topic.validator.validate(
          records, produceVersion: exchange.version, now: self.environment.wallClock(), workspace: workspace)
        guard let compression = topic.compression else { return batch }
        return try topic.validator.recompressed(batch, codec: compression.codec, level: compression.level, workspace: workspace)
      }
    } catch {
      answer.fail(error.code, error.message)
      answer.recordErrors = error.records.map { .init(batchIndex: $0.index, batchIndexErrorMessage: $0.message) }
      return
    }
    if batch.header.attributes.isTransactional {
      // As Kafka answers a producer whose transaction its coordinator does not know: here, none knows any.
      return answer.fail(.invalidTxnState, "This broker does not serve transactions yet.")
    }
    let outcome = partition.append(batch, needsAll: request.acks == -1)
    switch outcome {
    case .success(let appended):
      answer.baseOffset = appended.baseOffset.rawValue
      answer.logAppendTimeMs = appended.logAppendTime.rawValue
      answer.logStartOffset = appended.logStartOffset.rawValue
      if request.acks == -1, !appended.isCommitted {
        waits.append(
          .init(partition: partition, requiredOffset: appended.requiredOffset, topicIndex: topicIndex, partitionIndex: partitionIndex))
      }
    case .failure(let error): answer.fail(error.code, error.message)
    }
  }

  /// With acks=0 the client hears nothing; that something failed it learns from its connection, so that it asks for new metadata.
  func endUnacknowledged(_ exchange: Exchange<Env.Disk.File>, _ response: ProduceResponse) {
    for topic in response.responses {
      for partition in topic.partitionResponses where partition.errorCode != .none {
        let name = topic.name.isEmpty ? topic.topicId.description : topic.name
        return self.refuse(exchange, "produce with acks=0 to \(name)-\(partition.index) failed with \(partition.errorCode)")
      }
    }
    exchange.skip()
  }

  /// Tells the client whom to ask instead (KIP-951, v10).
  func nameLeader(
    of topic: TopicReference, _ partition: PartitionID, _ exchange: Exchange<Env.Disk.File>,
    _ answer: inout ProduceResponse.PartitionProduceResponse, _ response: inout ProduceResponse
  ) {
    guard exchange.version >= 10, let hint = self.leaderHint(topic, partition) else { return }
    answer.currentLeader = .init(leaderId: hint.node.rawValue, leaderEpoch: hint.epoch.rawValue)
    guard !response.nodeEndpoints.contains(where: { $0.nodeId == hint.node.rawValue }),
      let endpoint = self.catalog.endpoint(of: hint.node, listener: exchange.client.listener)
    else { return }
    response.nodeEndpoints.append(
      .init(nodeId: endpoint.nodeID.rawValue, host: endpoint.host, port: endpoint.port, rack: endpoint.rack))
  }
}

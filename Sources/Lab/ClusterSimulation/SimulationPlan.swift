import Base
import Model
import VirtualWorld

/// Everything that a seed decides before the run begins.
struct SimulationPlan: Sendable {
  struct Topic: Sendable {
    var name: String
    var partitionCount: Int32
    var replicationFactor: Int16
    var minInSyncReplicas: Int
    var flushPolicy: String
    var segmentBytes: Int
    /// It may lose what was acknowledged, rather than stay without a leader.
    var isUnclean = false

    var partitions: [TopicPartition] { (0..<self.partitionCount).map { TopicPartition(self.name, PartitionID($0)) } }
  }
  struct Producer: Sendable {
    var number: UInt32
    /// -1 for all in-sync replicas.
    var acks: Int16
    var isIdempotent: Bool
    var inFlightMax: Int
    /// Nanoseconds between two rounds of sending.
    var interval: ClosedRange<Int64>
    /// Partitions that get a batch in each round.
    var batchesPerRound: ClosedRange<Int>
    var recordsPerBatch: ClosedRange<Int>
    var valueBytesMax: Int
    var partitions: [TopicPartition]
    var requestTimeout: Duration

    /// Whether its records keep their order whatever is sent again.
    var keepsOrder: Bool { self.isIdempotent || self.inFlightMax == 1 }
  }

  var topics: [Topic]
  var producers: [Producer]
  var consumerCount: Int
  var clocks: [ClockError]
  var frameLatency: ClosedRange<Duration>
  var diskLatency: WorkLatency
  /// Nodes read the metadata log again and write checkpoints as often as this says, in milliseconds.
  var checkpointInterval: Int64
  /// `replica.lag.time.max.ms`
  var replicaLag: Int64
  /// The voters are in the metadata log, at first the first node alone (KIP-853). Otherwise they are in the configuration.
  var isQuorumDynamic = false
  /// `controller.quorum.auto.join.enable`
  var joinsQuorum = false
  /// `metadata.log.max.record.bytes.between.snapshots`
  var snapshotBytes: Int64
  var faults: FaultPlan
  /// Of ten thousand answers with parts of files, how many find the socket full.
  var stallShare: UInt64
  /// Before the trouble begins.
  var calm: Duration
  var trouble: Duration
  /// How long the cluster may take to serve again once the trouble is over.
  var healing: Duration

  init(seed: UInt64, options: SimulationOptions) {
    var generator = SeededGenerator(seed: seed)
    self.calm = .seconds(3)
    self.healing = .seconds(12)
    self.trouble = max(.seconds(1), options.duration - self.calm - self.healing - .seconds(3))
    self.faults = FaultPlan(allowed: options.faults ?? Set(FaultKind.allCases), span: self.trouble, using: &generator)
    let allKeepPower = Set(self.faults.kinds).isDisjoint(with: Self.losingUnsynced)
    self.topics = (0..<Int.random(in: 1...3, using: &generator)).map { number in
      let replicas = Int.random(in: 1...10, using: &generator) <= 8 ? min(3, options.nodeCount) : options.nodeCount
      return Topic(
        name: "topic-\(number)", partitionCount: Int32.random(in: 1...3, using: &generator), replicationFactor: Int16(replicas),
        // Seldom less than a majority.
        minInSyncReplicas: Int.random(in: 0..<4, using: &generator) == 0 ? 1 : max(1, (replicas + 1) / 2),
        // Without a sync only the loss of power may take what was acknowledged.
        flushPolicy: allKeepPower && Bool.random(using: &generator) ? "os" : "fsync",
        segmentBytes: 1 << Int.random(in: 12...20, using: &generator))
    }
    let partitions = self.topics.flatMap(\.partitions)
    self.producers = (1...UInt32.random(in: 1...3, using: &generator)).map { number in
      Self.producer(number, partitions, using: &generator)
    }
    self.consumerCount = Int.random(in: 1...2, using: &generator)
    let hasClockErrors = self.faults.kinds.contains(.clock)
    self.clocks = (0..<options.nodeCount).map { _ in
      if !hasClockErrors { return ClockError() }
      return ClockError(
        wallOffset: .milliseconds(Int64.random(in: -20_000...20_000, using: &generator)),
        driftPartsPerMillion: Int64.random(in: -500...500, using: &generator))
    }
    let microseconds = Int64.random(in: 20...2_000, using: &generator)
    self.frameLatency = .microseconds(microseconds / 4)...(.microseconds(microseconds))
    let syncMicroseconds = Int64.random(in: 50...5_000, using: &generator)
    self.diskLatency = WorkLatency(syncMicroseconds * 250...syncMicroseconds * 1_000)
    self.stallShare = Bool.random(using: &generator) ? UInt64.random(in: 0...500, using: &generator) : 0
    self.checkpointInterval = Int64.random(in: 500...5_000, using: &generator)
    self.replicaLag = Int64.random(in: 2_000...10_000, using: &generator)
    self.snapshotBytes = 20 << 20
    if Bool.random(using: &generator) { self.snapshotBytes = 1 << Int64.random(in: 10...15, using: &generator) }
    if self.faults.kinds.contains(.voters) {
      self.isQuorumDynamic = true
      self.joinsQuorum = Bool.random(using: &generator)
    }
    if self.faults.kinds.contains(.unclean) { self.addUncleanTopic(options, using: &generator) }
  }

  /// What may take records that were not synced.
  static let losingUnsynced: [FaultKind] = [.power, .powerAtWrite, .diskError, .blackout, .bitFlip]

  /// Beside the others, with a producer of its own: one without sequence numbers, as a log that has lost records does not know theirs.
  private mutating func addUncleanTopic(_ options: SimulationOptions, using generator: inout SeededGenerator) {
    let topic = Topic(
      name: "unclean", partitionCount: Int32.random(in: 1...2, using: &generator), replicationFactor: Int16(min(3, options.nodeCount)),
      minInSyncReplicas: 1, flushPolicy: "fsync", segmentBytes: 1 << 20, isUnclean: true)
    var producer = Self.producer(UInt32(self.producers.count + 1), topic.partitions, using: &generator)
    producer.isIdempotent = false
    producer.partitions = topic.partitions
    self.topics.append(topic)
    self.producers.append(producer)
  }

  private static func producer(
    _ number: UInt32, _ partitions: [TopicPartition], using generator: inout SeededGenerator
  ) -> Producer {
    let isIdempotent = Int.random(in: 0..<10, using: &generator) < 6
    let milliseconds = Int64.random(in: 10...200, using: &generator)
    return Producer(
      number: number,
      acks: isIdempotent || Int.random(in: 0..<10, using: &generator) < 7 ? -1 : 1,
      isIdempotent: isIdempotent, inFlightMax: Int.random(in: 1...5, using: &generator),
      interval: milliseconds * 500_000...milliseconds * 1_500_000,
      batchesPerRound: 1...Int.random(in: 1...2, using: &generator),
      recordsPerBatch: 1...Int.random(in: 1...8, using: &generator),
      valueBytesMax: Int.random(in: 0...400, using: &generator),
      // The first has all, so that none is without records.
      partitions: number == 1 ? partitions : partitions.filter { _ in Bool.random(using: &generator) },
      requestTimeout: .milliseconds(Int64.random(in: 500...4_000, using: &generator)))
  }

  /// Whether partitions may leave nodes that do not run.
  var movesPartitions: Bool { !Set(self.faults.kinds).isDisjoint(with: [.reassign, .reassignKill, .topics]) }

  /// One line for a report.
  var summary: String {
    let topics = self.topics.map { topic in
      "\(topic.partitionCount)x\(topic.replicationFactor)/\(topic.minInSyncReplicas) \(topic.flushPolicy) \(topic.segmentBytes)"
        + (topic.isUnclean ? " unclean" : "")
    }
    let producers = self.producers.map { producer in
      "acks=\(producer.acks == -1 ? "all" : "\(producer.acks)")\(producer.isIdempotent ? " idempotent" : "") x\(producer.inFlightMax)"
    }
    let quorum = self.isQuorumDynamic ? "; voters in the log\(self.joinsQuorum ? ", who join by themselves" : "")" : ""
    return "\(self.clocks.count) nodes\(quorum); topics \(topics.joined(separator: ", ")); producers \(producers.joined(separator: ", ")); "
      + "faults \(self.faults.kinds.isEmpty ? "none" : self.faults.kinds.map(\.rawValue).joined(separator: " "))"
  }
}

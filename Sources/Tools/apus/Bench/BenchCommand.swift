import ArgumentParser
import Base
import JSON
import KafkaClient
import NIOCore

/// `apus bench`: load against any Kafka broker.
struct BenchCommand: AsyncParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "bench",
    abstract: "Measure a Kafka broker: throughput and latency of producing and consuming.",
    discussion: """
      Works against any broker that speaks Kafka's protocol, at the address that --bootstrap gives. Requests are made ahead and written \
      straight to the connections, so that the broker and not this program is the limit.

      Latencies go into an HDR histogram. With --rate they count from the moment a request was due, so that a stall is seen in full by \
      everything it delayed.

      Exit codes: 0 measured; 1 refused by the broker or not reachable; 64 the command line was wrong.
      """,
    subcommands: [BenchProduce.self, BenchConsume.self, BenchLatency.self])

  static func show(_ report: BenchReport, json: Bool) {
    var output = StandardOutput()
    if json { output.line(report.json.text) } else { for line in report.lines { output.line(line) } }
  }
}

/// What the two producing benchmarks share.
struct BenchPayload: ParsableArguments {
  @Option(name: .long, help: ArgumentHelp("Partitions of the topic, if it is missing and so created.", valueName: "n"))
  var partitions: Int32 = 1
  @Option(name: .long, help: ArgumentHelp("Replicas of each partition, if the topic is created. Default: the broker's.", valueName: "n"))
  var replicationFactor: Int16?
  @Option(name: .long, help: "How batches are compressed.") var compression: CompressionArgument = CompressionArgument(.none)
  @Option(name: .long, help: ArgumentHelp("The share of every value that repeats, 0 to 1; the rest is random.", valueName: "share"))
  var compressible = 0.0
  @Option(
    name: .long,
    help: ArgumentHelp("Whose acknowledgement counts: 0 nobody's, 1 the leader's, all the in-sync replicas'.", valueName: "0|1|all"))
  var acks: AcksArgument = AcksArgument(.leader)
  @Option(name: .long, help: ArgumentHelp("Records per second in all. Default: as fast as it goes.", valueName: "n")) var rate: Double?

  func validate() throws {
    if self.partitions < 1 { throw ValidationError("A topic has at least one partition.") }
    if !(0...1).contains(self.compressible) { throw ValidationError("The compressible share is between 0 and 1.") }
    if let rate, !(rate > 0 && rate <= 1e9) { throw ValidationError("The rate is between 0 and 1,000,000,000 records per second.") }
  }

  /// Runs produce requests of batches of `batchByteCount` bytes.
  func run(name: String, _ options: BenchOptions, recordByteCount: Int, batchByteCount: Int, inFlight: Int, records: Int?) async throws {
    let target = try await options.prepare(
      creating: NewTopic(options.topic, partitions: self.partitions, replicationFactor: self.replicationFactor))
    let template = try BatchTemplate(
      recordByteCount: recordByteCount, batchByteCount: batchByteCount, codec: self.compression.compression.codec,
      compressible: self.compressible)
    let perBatch = template.recordsPerBatch
    let interval = self.rate.map { Duration.nanoseconds(Int64((Double(perBatch) / $0 * 1e9).rounded())) }
    let schedule = SendSchedule(
      batchCountMax: records.map { ($0 + perBatch - 1) / perBatch } ?? .max, duration: options.duration?.duration, interval: interval)
    let parameters: [(String, JSONValue)] = [
      ("topic", .string(target.topic)), ("partitions", .integer(Int64(target.leaders.count))),
      ("record_bytes", .integer(Int64(recordByteCount))), ("records_per_batch", .integer(Int64(perBatch))),
      ("batch_bytes", .integer(Int64(template.batches[0].readableBytes))), ("acks", .string(self.acks.defaultValueDescription)),
      ("compression", .string(self.compression.defaultValueDescription)), ("connections", .integer(Int64(options.connections))),
      ("in_flight", .integer(Int64(inFlight))), ("rate", self.rate.map(JSONValue.number) ?? .null),
    ]
    let acknowledgement = self.acks.acknowledgement
    let report = try await BenchRunner.run(
      target, options, name: name, parameters: parameters,
      latencyOf: self.rate == nil ? "per request" : "per request from its intended time"
    ) { connection, partitions throws in
      try ProduceLane(
        connection, target, partitions: partitions, template, schedule: schedule, acks: acknowledgement, inFlight: inFlight)
    }
    BenchCommand.show(report, json: options.json)
  }
}

/// `apus bench produce`
struct BenchProduce: AsyncParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "produce", abstract: "Produce ready-made batches as fast as they are taken, or at a rate.",
    discussion: """
      The topic is created if it is missing. Without --records and --duration 10,000,000 records are produced.

      Example: apus bench produce --record-size 100 --records 10000000 --connections 4 --broker-pid $(pidof apus)

      Exit codes: 0 measured; 1 refused by the broker or not reachable; 64 the command line was wrong.
      """)

  @Option(name: .long, help: ArgumentHelp("Bytes of a value.", valueName: "size"))
  var recordSize: ByteCountArgument = ByteCountArgument(100)
  @Option(name: .long, help: ArgumentHelp("Bytes of a batch before compression; at least one record goes in.", valueName: "size"))
  var batchSize: ByteCountArgument = ByteCountArgument(64 << 10)
  @Option(name: .long, help: ArgumentHelp("Requests under way per connection.", valueName: "n")) var inFlight = 5
  @OptionGroup var payload: BenchPayload
  @OptionGroup var options: BenchOptions

  func validate() throws {
    if max(self.recordSize.byteCount, self.batchSize.byteCount) > 512 << 20 {
      throw ValidationError("Sizes beyond 512MiB are not possible.")
    }
    if self.inFlight < 1 || self.inFlight > 100_000 { throw ValidationError("Between 1 and 100000 requests in flight are possible.") }
  }

  func run() async throws {
    try await self.payload.run(
      name: "produce", self.options, recordByteCount: self.recordSize.byteCount, batchByteCount: self.batchSize.byteCount,
      inFlight: self.inFlight, records: self.options.records ?? (self.options.duration == nil ? 10_000_000 : nil))
  }
}

/// `apus bench latency`
struct BenchLatency: AsyncParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "latency", abstract: "Produce one record at a time, each after the answer to the last.",
    discussion: """
      The topic is created if it is missing. Without --records and --duration 10,000 records are produced.

      Example: apus bench latency --record-size 1KiB --records 20000 --acks 1

      Exit codes: 0 measured; 1 refused by the broker or not reachable; 64 the command line was wrong.
      """)

  @Option(name: .long, help: ArgumentHelp("Bytes of a value.", valueName: "size"))
  var recordSize: ByteCountArgument = ByteCountArgument(1024)
  @OptionGroup var payload: BenchPayload
  @OptionGroup var options: BenchOptions

  func validate() throws {
    if self.recordSize.byteCount > 512 << 20 { throw ValidationError("Sizes beyond 512MiB are not possible.") }
  }

  func run() async throws {
    try await self.payload.run(
      name: "latency", self.options, recordByteCount: self.recordSize.byteCount, batchByteCount: 1, inFlight: 1,
      records: self.options.records ?? (self.options.duration == nil ? 10000 : nil))
  }
}

/// `apus bench consume`
struct BenchConsume: AsyncParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "consume", abstract: "Fetch what is in the topic and count it by the batches' headers.",
    discussion: """
      Stops at the ends that the partitions have when it starts, or earlier with --records or --duration.

      Exit codes: 0 measured; 1 no such topic, refused by the broker, corrupt data or not reachable; 64 the command line was wrong.
      """)

  @Option(name: .long, help: ArgumentHelp("The most one answer holds of a partition.", valueName: "size"))
  var fetchSize: ByteCountArgument = ByteCountArgument(1 << 20)
  @Flag(name: .long, help: "Check every checksum and walk every record.") var verify = false
  @OptionGroup var options: BenchOptions

  func run() async throws {
    let target = try await self.options.prepare()
    let ranges = try await self.ranges(of: target)
    let budget = ConsumeLane.RecordBudget(self.options.records ?? .max)
    let fetch = ConsumeLane.FetchOptions(
      partitionByteCountMax: Int32(clamping: self.fetchSize.byteCount), byteCountMax: 50 << 20, verifies: self.verify)
    let deadline = self.options.duration.map { MonotonicClock.now() + $0.duration } ?? .distantFuture
    let parameters: [(String, JSONValue)] = [
      ("topic", .string(target.topic)), ("partitions", .integer(Int64(target.leaders.count))),
      ("fetch_bytes", .integer(Int64(self.fetchSize.byteCount))), ("connections", .integer(Int64(self.options.connections))),
      ("verify", .bool(self.verify)),
    ]
    let report = try await BenchRunner.run(
      target, self.options, name: "consume", parameters: parameters, latencyOf: "per fetch"
    ) { connection, partitions in
      ConsumeLane(
        connection, target, ranges: ranges.filter { partitions.contains($0.key) }, options: fetch, deadline: deadline, budget: budget)
    }
    BenchCommand.show(report, json: self.options.json)
  }

  private func ranges(of target: BenchTarget) async throws -> [Int32: Range<Int64>] {
    let admin = KafkaAdmin(try self.options.client.configuration())
    let partitions = target.leaders.keys.map { TopicPartition(topic: target.topic, partition: $0) }
    do {
      let starts = try await admin.listOffsets(Dictionary(uniqueKeysWithValues: partitions.map { ($0, OffsetSpec.earliest) }))
      let ends = try await admin.listOffsets(Dictionary(uniqueKeysWithValues: partitions.map { ($0, OffsetSpec.latest) }))
      await admin.close()
      var ranges: [Int32: Range<Int64>] = [:]
      for (partition, start) in starts {
        guard let end = ends[partition] else { continue }
        let first = try start.get().offset
        ranges[partition.partition] = first..<max(first, try end.get().offset)
      }
      return ranges
    } catch {
      await admin.close()
      throw error
    }
  }
}

import ArgumentParser
import KafkaClient
import Records

/// `apus consume`: prints records.
struct ConsumeCommand: AsyncParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "consume",
    abstract: "Print a topic's records.",
    discussion: """
      Without a start only records that are produced from now on are printed. Values are printed one a line, unless --format or --json \
      say otherwise.

      Tokens of --format: %s value, %S its length (-1: null), %R the same as a big-endian int32, %k key, %K its length, %T timestamp in \
      milliseconds, %h headers, %t topic, %p partition, %o offset, %% a percent sign; \\n \\r \\t \\0 \\\\ \\xHH as in C.

      Examples:
        apus consume logs --from-beginning --exit-at-end | wc -l
        apus consume logs --from-time -10m --format '%T %p:%o %k=%s\\n'

      When a broker goes away, stderr says so, and again when it is back; meanwhile it is tried again and again. With --count or \
      --exit-at-end that ends with an error once no broker could be reached for --timeout; else it goes on for ever.

      Exit codes: 0 done, or the reader of the output went away; 1 the topic does not exist, an offset is not there, data is corrupt or \
      the cluster cannot be reached; 64 the command line was wrong.
      """)

  @Argument(help: "The topic.") var topic: String
  @Flag(name: .long, help: "Start with the first record that is kept.") var fromBeginning = false
  @Option(
    name: .long, parsing: .unconditional,
    help: ArgumentHelp("Start at this offset; below 0 counts from the end of each partition.", valueName: "n"))
  var offset: Int64?
  @Option(
    name: .long, parsing: .unconditional,
    help: ArgumentHelp(
      "Start with the first record from this time on: 2026-11-23T17:46:00Z, milliseconds since 1970, or -10m.", valueName: "time"))
  var fromTime: TimeArgument?
  @Option(name: .long, parsing: .singleValue, help: ArgumentHelp("Only this partition, may be repeated. Default: all.", valueName: "n"))
  var partition: [Int32] = []
  @Option(name: .long, help: ArgumentHelp("Stop after so many records.", valueName: "n")) var count: Int?
  @Flag(name: .long, help: "Stop at the end of every partition, as it is when it is reached.") var exitAtEnd = false
  @Option(name: .long, help: ArgumentHelp("How to print a record.", valueName: "format")) var format: String?
  @Flag(name: .long, help: "One JSON object a line, as kcat -J prints it. What is not UTF-8 becomes replacement characters.")
  var json = false
  @Flag(name: .long, help: "Only records of committed transactions.") var readCommitted = false
  @OptionGroup var client: ClientOptions

  func validate() throws {
    if [self.fromBeginning, self.offset != nil, self.fromTime != nil].filter({ $0 }).count > 1 {
      throw ValidationError("Give one start: --from-beginning, --offset or --from-time.")
    }
    if self.json, self.format != nil { throw ValidationError("Give --json or --format, not both.") }
    if let count, count < 0 { throw ValidationError("The count cannot be negative.") }
    if self.partition.contains(where: { $0 < 0 }) { throw ValidationError("Partitions count from 0.") }
    if let format { do { _ = try RecordFormat(format) } catch { throw ValidationError("\(error).") } }
  }

  private var start: StartPosition {
    if self.fromBeginning { return .earliest }
    if let offset { return offset < 0 ? .fromEnd(-offset) : .offset(offset) }
    if let fromTime { return .timestamp(fromTime.milliseconds) }
    return .latest
  }

  func run() async throws {
    if self.count == 0 { return }
    var configuration = ConsumerConfiguration(try self.client.configuration())
    configuration.readCommitted = self.readCommitted
    // Who waits for an end is told that it will not come; who follows a topic waits for the broker.
    if self.count != nil || self.exitAtEnd { configuration.outageTimeout = self.client.timeout.duration }
    let consumer = KafkaConsumer(configuration) { ConnectivityReport.show($0) }
    var output = StandardOutput()
    var problem: (any Error)?
    do {
      try await self.consume(from: consumer, into: &output)
    } catch {
      problem = error
    }
    output.flush()
    await consumer.close()
    if let problem { throw problem }
  }

  private func consume(from consumer: KafkaConsumer, into output: inout StandardOutput) async throws {
    let partitions = try await self.partitions(of: consumer)
    if partitions.isEmpty { throw KafkaError(.invalidArgument, "topic \(self.topic) has no partitions") }
    consumer.assign(Dictionary(uniqueKeysWithValues: partitions.map { (TopicPartition(topic: self.topic, partition: $0), self.start) }))
    var printer = RecordPrinter(
      format: self.json ? nil : try RecordFormat(self.format ?? "%s\\n"), topic: self.topic, limit: self.count ?? .max)
    var progress = ProgressLine(verb: "consumed")
    var unfinished = Set(partitions)
    while true {
      var event = try consumer.nextIfReady()
      if event == nil {
        // Nothing is left to print: show what there is before waiting.
        output.flush()
        event = try await consumer.next()
      }
      switch event {
      case nil: return
      case .batch(let batch)?:
        try printer.print(batch, to: &output)
        progress.update(records: printer.count, bytes: printer.byteCount)
        if printer.count == self.count {
          progress.finish(records: printer.count, bytes: printer.byteCount)
          return
        }
      case .endOfPartition(let partition, _)?:
        unfinished.remove(partition.partition)
        if self.exitAtEnd, unfinished.isEmpty {
          output.flush()
          progress.finish(records: printer.count, bytes: printer.byteCount)
          return
        }
      }
    }
  }

  private func partitions(of consumer: KafkaConsumer) async throws -> [Int32] {
    let count = try await consumer.partitionCount(of: self.topic)
    if self.partition.isEmpty { return Array(0..<count) }
    for partition in self.partition where partition >= count {
      throw KafkaError(.invalidArgument, "topic \(self.topic) has no partition \(partition): it has \(count)")
    }
    return Set(self.partition).sorted()
  }
}

/// Prints batches record by record, up to a limit.
struct RecordPrinter {
  /// Nil: JSON.
  let format: RecordFormat?
  let topic: [UInt8]
  let limit: Int
  private(set) var count = 0
  private(set) var byteCount = 0

  init(format: RecordFormat?, topic: String, limit: Int) {
    (self.format, self.topic, self.limit) = (format, Array(topic.utf8), limit)
  }

  mutating func print(_ batch: ConsumedBatch, to output: inout StandardOutput) throws {
    let isLogAppendTime = batch.view.header.attributes.isLogAppendTime
    let (format, topic, limit) = (self.format, self.topic, self.limit)
    var count = self.count
    var result: Result<Void, KafkaError> = .success(())
    output.append { output in
      do throws(KafkaError) {
        try batch.forEachRaw { offset, timestamp, raw, bytes in
          let record = StoredRecord(
            partition: batch.partition, offset: offset, timestamp: timestamp, isLogAppendTime: isLogAppendTime, raw: raw, bytes: bytes)
          if let format { format.append(record, topic: topic, to: &output) } else { RecordEnvelope.append(record, to: &output) }
          count += 1
          return count < limit
        }
      } catch {
        result = .failure(error)
      }
    }
    self.count = count
    self.byteCount += batch.byteCount
    try result.get()
  }
}

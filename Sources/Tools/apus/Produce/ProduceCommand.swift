import ArgumentParser
import Base
import KafkaClient
import Synchronization

#if canImport(Glibc)
  import Glibc
#elseif canImport(Musl)
  import Musl
#else
  import Darwin
#endif

/// `apus produce`: every line becomes a record.
struct ProduceCommand: AsyncParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "produce",
    abstract: "Produce every line of the input as a record.",
    discussion: """
      Lines come from stdin or from --file, without their line end; an empty line is a record with an empty value. Records without a key \
      or --partition are spread over the partitions a batch at a time, those with a key go where every Kafka client puts that key.

      Examples:
        cat access.log | apus produce logs --compression zstd
        printf 'a:1\\nb:2\\n' | apus produce table --key-separator :
        apus consume t --from-beginning --exit-at-end --json | apus produce u --json

      When a broker goes away, stderr says so, and again when it is back; records wait for it as long as --timeout.

      Exit codes: 0 every record was acknowledged as --acks asks; 1 one was not, or the input could not be read; 64 the command line was \
      wrong.
      """)

  @Argument(help: "The topic.") var topic: String
  @Option(name: .long, help: ArgumentHelp("Read this file instead of stdin.", valueName: "path")) var file: String?
  @Option(
    name: .long, help: ArgumentHelp("What stands before the first of these is the key; a line without it has none.", valueName: "text"))
  var keySeparator: String?
  @Option(name: .long, parsing: .singleValue, help: ArgumentHelp("A header for every record, may be repeated.", valueName: "key=value"))
  var header: [PairArgument] = []
  @Option(name: .long, help: ArgumentHelp("Put every record into this partition.", valueName: "n")) var partition: Int32?
  @Option(
    name: .long,
    help: ArgumentHelp("Whose acknowledgement counts: 0 nobody's, 1 the leader's, all the in-sync replicas'.", valueName: "0|1|all"))
  var acks: AcksArgument = AcksArgument(.all)
  @Option(name: .long, help: "How batches are compressed.") var compression: CompressionArgument = CompressionArgument(.none)
  @Flag(
    name: .long,
    help: """
      Each line is a JSON object as `consume --json` writes it: payload, key, headers, partition and ts; any may be missing, others are \
      refused.
      """)
  var json = false
  @Option(name: .long, help: ArgumentHelp("Bytes gathered per partition before they are sent.", valueName: "size"))
  var batchSize: ByteCountArgument = ByteCountArgument(256 << 10)
  @Option(name: .long, help: ArgumentHelp("How long a batch that is not full waits for more.", valueName: "duration"))
  var linger: DurationArgument = DurationArgument(.milliseconds(5))
  @OptionGroup var client: ClientOptions

  func validate() throws {
    if let keySeparator, keySeparator.isEmpty { throw ValidationError("The key separator cannot be empty.") }
    if self.json, self.keySeparator != nil { throw ValidationError("With --json the key stands in the object: leave --key-separator out.") }
    if let partition, partition < 0 { throw ValidationError("Partitions count from 0.") }
    if self.batchSize.byteCount < 1 || self.batchSize.byteCount > 1 << 30 { throw ValidationError("A batch has 1 byte to 1GiB.") }
  }

  /// What became of the records so far. Told by the client's thread, read by ours.
  private final class Tally: Sendable {
    struct Counts {
      var delivered = 0
      var failed = 0
      var failure: KafkaError?
    }
    let counts = Mutex(Counts())

    func note(_ batch: DeliveredBatch) {
      self.counts.withLock { counts in
        switch batch.result {
        case .success: counts.delivered += batch.recordCount
        case .failure(let error):
          counts.failed += batch.recordCount
          if counts.failure == nil { counts.failure = error }
        }
      }
    }
  }

  func run() async throws {
    let tally = Tally()
    // Before anything is connected: without an input there is nothing to do.
    let reader = try self.openInput()
    let producer = try KafkaProducer(
      try self.producerConfiguration(), onDelivery: { tally.note($0) }, onConnectivity: { ConnectivityReport.show($0) })
    var progress = ProgressLine(verb: "produced")
    var bytes = 0
    var problem: (any Error)?
    do {
      bytes = try await self.produce(reader, with: producer, tally, &progress)
    } catch {
      problem = error
    }
    await producer.close()
    let counts = tally.counts.withLock { $0 }
    progress.finish(records: counts.delivered, bytes: bytes)
    if let failure = counts.failure {
      let all = counts.failed + counts.delivered
      throw KafkaError(
        failure.kind, "\(Readable.count(counts.failed)) of \(Readable.count(all)) records were not delivered: \(failure)")
    }
    if let problem { throw problem }
  }

  private func producerConfiguration() throws -> ProducerConfiguration {
    var configuration = ProducerConfiguration(try self.client.configuration())
    configuration.acknowledgement = self.acks.acknowledgement
    configuration.idempotence = self.acks.acknowledgement == .all
    configuration.compression = self.compression.compression
    configuration.batchByteCount = self.batchSize.byteCount
    configuration.requestByteCountMax = max(1 << 20, self.batchSize.byteCount)
    configuration.linger = self.linger.duration
    // The broker's limit decides what is too large, not a second one here.
    configuration.recordByteCountMax = 1 << 30
    configuration.bufferByteCount = 64 << 20
    configuration.blockTimeout = self.client.timeout.duration
    configuration.deliveryTimeout = self.client.timeout.duration
    return configuration
  }

  private func openInput() throws(CommandFailure) -> LineReader {
    guard let file else { return LineReader(descriptor: 0, byteCountMax: 1 << 30) }
    do throws(SystemFailure) {
      return LineReader(descriptor: try Descriptor.open(file), ownsDescriptor: true, byteCountMax: 1 << 30)
    } catch {
      throw self.unreadable(error)
    }
  }

  private func unreadable(_ failure: SystemFailure) -> CommandFailure {
    CommandFailure("\(self.file.map { "'\($0)'" } ?? "stdin") cannot be read: \(failure)")
  }

  /// Sends line after line until the input ends or a record failed for good. Returns the bytes of the lines.
  private func produce(
    _ input: consuming LineReader, with producer: KafkaProducer, _ tally: Tally, _ progress: inout ProgressLine
  ) async throws -> Int {
    var reader = input
    let parser = LineParser(
      topic: self.topic, partition: self.partition, keySeparator: self.keySeparator.map { Array($0.utf8) }, isJSON: self.json,
      headers: self.header.map { RecordHeader($0.name, text: $0.value) })
    var lines = 0
    var bytes = 0
    while true {
      do { try reader.fill() } catch let failure as SystemFailure { throw self.unreadable(failure) }
      if reader.isDone { return bytes }
      var refusal: (any Error)?
      var isBlocked = false
      let timestamp = WallClock.milliseconds()
      producer.withState { state in
        reader.forEachLine { line in
          do throws(LineParser.Failure) {
            switch try parser.offer(line, to: &state, timestamp: timestamp) {
            case .accepted:
              lines += 1
              bytes += line.count
              return true
            case .needsMetadata, .bufferFull: isBlocked = true
            case .refused(let error): refusal = error
            }
          } catch {
            refusal = CommandFailure("line \(lines + 1): \(error.reason)")
          }
          return false
        }
      }
      if let refusal { throw refusal }
      if isBlocked { try await producer.ready(for: self.topic) }
      let (hasFailed, delivered) = tally.counts.withLock { ($0.failure != nil, $0.delivered) }
      if hasFailed { return bytes }
      progress.update(records: delivered, bytes: bytes)
    }
  }
}

/// Makes records of lines as the options say.
struct LineParser {
  struct Failure: Error { var reason: String }

  let topic: String
  let partition: Int32?
  let keySeparator: [UInt8]?
  let isJSON: Bool
  let headers: [RecordHeader]

  func offer(_ line: UnsafeRawBufferPointer, to state: inout ProducerState, timestamp: Int64) throws(Failure) -> ProducerState.Offer {
    if self.isJSON { return try self.offerJSON(line, to: &state, timestamp: timestamp) }
    let (key, value) = self.split(line)
    return state.offer(
      topic: self.topic, partition: self.partition, key: key, value: value, headers: self.headers, timestamp: timestamp, waiter: nil,
      now: MonotonicClock.now())
  }

  /// The key, if the line has one, and the value.
  func split(_ line: UnsafeRawBufferPointer) -> (key: UnsafeRawBufferPointer?, value: UnsafeRawBufferPointer) {
    guard let separator = self.keySeparator, line.count >= separator.count else { return (nil, line) }
    let found = separator.withUnsafeBytes { separator -> Int? in
      var position = 0
      while position + separator.count <= line.count,
        let first = memchr(line.baseAddress! + position, CInt(separator[0]), line.count - position - separator.count + 1)
      {
        position = UnsafeRawPointer(first) - line.baseAddress!
        if memcmp(first, separator.baseAddress!, separator.count) == 0 { return position }
        position += 1
      }
      return nil
    }
    guard let found else { return (nil, line) }
    return (UnsafeRawBufferPointer(rebasing: line[..<found]), UnsafeRawBufferPointer(rebasing: line[(found + separator.count)...]))
  }

  private func offerJSON(
    _ line: UnsafeRawBufferPointer, to state: inout ProducerState, timestamp: Int64
  ) throws(Failure) -> ProducerState.Offer {
    var record: ProducerRecord
    do throws(JSONRecord.Failure) {
      record = try JSONRecord.parse(line, topic: self.topic)
    } catch {
      throw Failure(reason: error.description)
    }
    func offer(_ key: UnsafeRawBufferPointer?, _ value: UnsafeRawBufferPointer?) -> ProducerState.Offer {
      state.offer(
        topic: self.topic, partition: self.partition ?? record.partition, key: key, value: value, headers: record.headers + self.headers,
        timestamp: record.timestamp ?? timestamp, waiter: nil, now: MonotonicClock.now())
    }
    return Self.withBytes(record.key) { key in Self.withBytes(record.value) { value in offer(key, value) } }
  }

  private static func withBytes<R>(_ bytes: [UInt8]?, _ body: (UnsafeRawBufferPointer?) -> R) -> R {
    guard let bytes else { return body(nil) }
    return bytes.withUnsafeBytes { body($0) }
  }
}

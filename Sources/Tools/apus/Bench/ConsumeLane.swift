import Base
import Compression
import KafkaClient
import Model
import NIOCore
import Records
import Synchronization
import Wire

/// Fetches partitions from the beginning over one connection, counting batches by their headers.
final class ConsumeLane: BenchLane {
  private struct Reading {
    var partition: Int32
    var offset: Int64 = 0
    /// Reading stops there.
    var end: Int64
    var isDone: Bool { self.offset >= self.end }
  }

  private let connection: BrokerConnection
  private let target: BenchTarget
  private let options: FetchOptions
  private let deadline: Instant
  /// Records that all lanes together may still count.
  private let budget: RecordBudget
  private var readings: [Reading]
  private let decompressor = Decompressor()
  private var result = LaneResult()
  private let promise: EventLoopPromise<LaneResult>

  struct FetchOptions: Sendable {
    var partitionByteCountMax: Int32
    var byteCountMax: Int32
    /// Check every checksum and walk every record.
    var verifies: Bool
  }

  final class RecordBudget: Sendable {
    private let left: Atomic<Int>
    init(_ count: Int) { self.left = Atomic(count) }
    /// False once everything was counted.
    func spend(_ count: Int) -> Bool { self.left.subtract(count, ordering: .relaxed).newValue > 0 }
  }

  init(
    _ connection: BrokerConnection, _ target: BenchTarget, ranges: [Int32: Range<Int64>], options: FetchOptions, deadline: Instant,
    budget: RecordBudget
  ) {
    self.connection = connection
    self.target = target
    self.options = options
    self.deadline = deadline
    self.budget = budget
    self.readings = ranges.sorted { $0.key < $1.key }.map { partition, range in
      Reading(partition: partition, offset: range.lowerBound, end: range.upperBound)
    }
    self.promise = connection.eventLoop.makePromise(of: LaneResult.self)
  }

  func run() -> EventLoopFuture<LaneResult> {
    self.fetch()
    return self.promise.futureResult
  }

  private func fetch() {
    let wanted = self.readings.filter { !$0.isDone }
    let start = MonotonicClock.now()
    if wanted.isEmpty || start >= self.deadline { return self.promise.succeed(self.result) }
    var request = FetchRequest(maxWaitMs: 500, minBytes: 1, maxBytes: self.options.byteCountMax)
    request.topics = [
      .init(
        topic: self.target.topic, topicId: self.target.topicID,
        partitions: wanted.map {
          .init(partition: $0.partition, fetchOffset: $0.offset, partitionMaxBytes: self.options.partitionByteCountMax)
        })
    ]
    // The first in line gets most of an answer's room: let each partition be the first in turn.
    if self.readings.count > 1 { self.readings.append(self.readings.removeFirst()) }
    let bound = NIOLoopBound(self, eventLoop: self.connection.eventLoop)
    self.connection.send(request, notAbove: self.target.topicID == .zero ? 12 : .max).whenComplete { answer in
      bound.value.answered(answer, since: start)
    }
  }

  private func answered(_ answer: Result<FetchResponse, any Error>, since start: Instant) {
    do {
      let goesOn = try self.count(try answer.get())
      self.result.latency.record(nanoseconds: (MonotonicClock.now() - start).wholeNanoseconds)
      if goesOn { self.fetch() } else { self.promise.succeed(self.result) }
    } catch {
      self.promise.fail(error)
    }
  }

  /// False once there is enough.
  private func count(_ response: FetchResponse) throws -> Bool {
    if response.errorCode != .none { throw KafkaError(response.errorCode, about: "fetch") }
    var records = 0
    for partition in response.responses.flatMap(\.partitions) {
      if partition.errorCode != .none { throw KafkaError(partition.errorCode, about: "partition \(partition.partitionIndex)") }
      guard case .bytes(let bytes)? = partition.records,
        let index = self.readings.firstIndex(where: { $0.partition == partition.partitionIndex })
      else { continue }
      records += try self.count(bytes, into: index)
    }
    self.result.records += records
    return self.budget.spend(records)
  }

  private func count(_ bytes: ByteBuffer, into index: Int) throws -> Int {
    var records = 0
    var batches = BatchSequence(bytes, checksChecksums: self.options.verifies)
    while let batch = try batches.next() {
      guard batch.header.nextOffset.rawValue > self.readings[index].offset else { continue }
      records += Int(batch.header.recordCount)
      self.result.bytes += batch.header.totalByteCount
      self.readings[index].offset = batch.header.nextOffset.rawValue
      if self.options.verifies {
        var iterator = try batch.records(using: self.decompressor)
        while try iterator.next() != nil {}
      }
    }
    return records
  }
}

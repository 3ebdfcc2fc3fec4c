import Base
import KafkaClient
import Model
import NIOCore
import Synchronization
import Wire

/// When which batch is due: shared by all lanes, so that together they keep one rate and one total.
final class SendSchedule: Sendable {
  private let next = Atomic<Int>(0)
  private let batchCountMax: Int
  private let duration: Duration?
  private let interval: Duration?
  private let startNanoseconds = Atomic<Int64>(0)

  /// - Parameters:
  ///   - interval: between the intended times of consecutive batches; nil sends as fast as it goes.
  init(batchCountMax: Int, duration: Duration?, interval: Duration?) {
    (self.batchCountMax, self.duration, self.interval) = (batchCountMax, duration, interval)
  }

  /// Takes the next batch: its number and the time at which it ought to be sent (nil: now). Nil once it is over.
  func take(now: Instant) -> (index: Int, due: Instant?)? {
    // Whoever comes first starts the clock for all.
    _ = self.startNanoseconds.compareExchange(expected: 0, desired: now.nanoseconds, ordering: .relaxed)
    let start = Instant(nanoseconds: self.startNanoseconds.load(ordering: .relaxed))
    if let duration, now - start >= duration { return nil }
    let index = self.next.add(1, ordering: .relaxed).oldValue
    guard index < self.batchCountMax else { return nil }
    guard let interval else { return (index, nil) }
    let due = start + .nanoseconds(Int64(clamping: index.multipliedFullWidth(by: Int(interval.wholeNanoseconds)).low))
    if let duration, due - start >= duration { return nil }
    return (index, due)
  }
}

/// Keeps a number of produce requests of ready-made batches under way on one connection.
final class ProduceLane: BenchLane {
  private let connection: BrokerConnection
  private let schedule: SendSchedule
  private let inFlightMax: Int
  private let expectsAnswer: Bool
  private let recordsPerBatch: Int
  /// The pieces of a request per batch and partition; only the correlation id, 8 bytes from the start, differs from time to time.
  private var frames: [[ByteBuffer]] = []
  private var frameByteCounts: [Int] = []
  private let version: Int16
  private var inFlight = 0
  private var waiting: (index: Int, due: Instant?)?
  private var isOver = false
  private var hasFailed = false
  private var result = LaneResult()
  private let promise: EventLoopPromise<LaneResult>

  /// Pieces smaller than this are copied into one, which is cheaper to write than three.
  private static let copyByteCountMax = 16384

  init(
    _ connection: BrokerConnection, _ target: BenchTarget, partitions: [Int32], _ template: BatchTemplate, schedule: SendSchedule,
    acks: Acknowledgement, inFlight: Int
  ) throws {
    self.connection = connection
    self.schedule = schedule
    self.inFlightMax = inFlight
    self.expectsAnswer = acks != .none
    self.recordsPerBatch = template.recordsPerBatch
    self.promise = connection.eventLoop.makePromise(of: LaneResult.self)
    self.version = try connection.versions.version(of: ProduceRequest.self, notAbove: target.topicID == .zero ? 12 : 13)
    for batch in template.batches {
      for partition in partitions {
        let request = ProduceRequest(
          acks: acks.rawValue, timeoutMs: 30000,
          topicData: [
            .init(
              name: target.topic, topicId: target.topicID,
              partitionData: [.init(index: partition, records: .external(byteCount: batch.readableBytes))])
          ])
        var pieces = RequestFrame.encode(request, version: self.version, correlationID: 0, clientID: "apus-bench", records: [batch])
        if batch.readableBytes < Self.copyByteCountMax {
          var whole = ByteBuffer()
          for piece in pieces { whole.writeImmutableBuffer(piece) }
          pieces = [whole]
        }
        self.frames.append(pieces)
        self.frameByteCounts.append(batch.readableBytes)
      }
    }
  }

  func run() -> EventLoopFuture<LaneResult> {
    self.fill()
    return self.promise.futureResult
  }

  private func fill() {
    while self.inFlight < self.inFlightMax, !self.isOver {
      let now = MonotonicClock.now()
      guard let next = self.waiting ?? self.schedule.take(now: now) else {
        self.isOver = true
        break
      }
      if let due = next.due, due > now {
        let isNew = self.waiting == nil
        self.waiting = next
        if isNew {
          let bound = NIOLoopBound(self, eventLoop: self.connection.eventLoop)
          self.connection.eventLoop.scheduleTask(in: .nanoseconds((due - now).wholeNanoseconds)) { bound.value.fill() }
        }
        return
      }
      self.waiting = nil
      self.send(next.index, intended: next.due ?? now)
    }
    if self.isOver, self.inFlight == 0, !self.hasFailed { self.promise.succeed(self.result) }
  }

  private func send(_ index: Int, intended: Instant) {
    let slot = index % self.frames.count
    let correlationID = self.connection.takeCorrelationID()
    var pieces = self.frames[slot]
    pieces[0].setInteger(correlationID, at: pieces[0].readerIndex + 8)
    let byteCount = self.frameByteCounts[slot]
    self.inFlight += 1
    let bound = NIOLoopBound(self, eventLoop: self.connection.eventLoop)
    self.connection.write(pieces, correlationID: correlationID, expectsAnswer: self.expectsAnswer) { answer in
      bound.value.answered(answer, byteCount, intended: intended)
    }
  }

  private func answered(_ answer: Result<ByteBuffer, KafkaError>, _ byteCount: Int, intended: Instant) {
    self.inFlight -= 1
    switch answer {
    case .failure(let error): return self.fail(error)
    case .success(let body):
      if self.expectsAnswer, let error = self.refusal(in: body) { return self.fail(error) }
    }
    self.result.records += self.recordsPerBatch
    self.result.bytes += byteCount
    self.result.latency.record(nanoseconds: (MonotonicClock.now() - intended).wholeNanoseconds)
    self.fill()
  }

  private func refusal(in body: ByteBuffer) -> KafkaError? {
    do {
      let response = try RequestFrame.decodeAnswer(to: ProduceRequest.self, version: self.version, from: body)
      for topic in response.responses {
        for partition in topic.partitionResponses where partition.errorCode != .none {
          return KafkaError(partition.errorCode, partition.errorMessage, about: "partition \(partition.index)")
        }
      }
      return nil
    } catch {
      return KafkaError.malformedAnswer(error, from: "\(self.connection.address)")
    }
  }

  private func fail(_ error: KafkaError) {
    // The first failure counts; what else is under way ends with the connection.
    if self.hasFailed { return }
    self.hasFailed = true
    self.isOver = true
    self.promise.fail(error)
    self.connection.close(error)
  }
}

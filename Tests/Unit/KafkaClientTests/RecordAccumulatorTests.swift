import Base
import Compression
import Model
import NIOCore
import Records
import Testing

@testable import KafkaClient

/// The producer's decisions, without a network: what leaves when, in which order, with which sequence numbers.
@Suite struct RecordAccumulatorTests {
  private typealias Accumulator = RecordAccumulator<Int>
  private let partition = KafkaClient.TopicPartition(topic: "t", partition: 0)

  private func at(_ milliseconds: Int64) -> Instant { Instant(nanoseconds: milliseconds * 1_000_000) }

  private func accumulator(
    batch: Int = 200, linger: Duration = .milliseconds(10), buffer: Int = 100_000, idempotent: Bool = true, attempts: Int = .max
  ) -> Accumulator {
    var accumulator = Accumulator(limits: ProducerLimits(
      batchByteCountMax: batch, linger: linger, bufferByteCountMax: buffer, deliveryTimeout: .seconds(10), attemptsMax: attempts,
      retryBackoff: .milliseconds(100), retryBackoffMax: .milliseconds(400), isIdempotent: idempotent))
    accumulator.identity = ProducerIdentity(producerID: 7, producerEpoch: 0)
    return accumulator
  }

  @discardableResult
  private func append(
    _ accumulator: inout Accumulator, _ text: String, waiter: Int? = nil, slot: Int = 0, at now: Int64 = 0
  ) -> Accumulator.AppendOutcome {
    Array(text.utf8).withUnsafeBytes { value in
      accumulator.append(to: slot, key: nil, value: value, headers: [], timestamp: 1000, waiter: waiter, now: self.at(now))
    }
  }

  private func drain(_ accumulator: inout Accumulator, at now: Int64) -> [ProducerBatch<Int>] {
    var batches: [ProducerBatch<Int>] = []
    accumulator.drain(leader: 1, byteCountMax: 1 << 20, now: self.at(now), into: &batches)
    return batches
  }

  private func ready(_ accumulator: inout Accumulator) -> Accumulator {
    let slot = accumulator.slot(for: self.partition)
    accumulator.setLeader(1, of: slot)
    return accumulator
  }

  private func make(
    batch: Int = 200, linger: Duration = .milliseconds(10), buffer: Int = 100_000, idempotent: Bool = true, attempts: Int = .max
  ) -> Accumulator {
    var accumulator = self.accumulator(batch: batch, linger: linger, buffer: buffer, idempotent: idempotent, attempts: attempts)
    return self.ready(&accumulator)
  }

  private let notLeader = KafkaError(.notLeaderOrFollower, about: "t-0")

  // MARK: Batching

  @Test func anOpenBatchWaitsForItsLinger() {
    var accumulator = self.make()
    #expect(self.append(&accumulator, "a") == .appended(wakes: true, opened: true))
    #expect(self.append(&accumulator, "b", at: 5) == .appended(wakes: false, opened: false))
    #expect(accumulator.readyLeaders(now: self.at(9)) == [])
    #expect(accumulator.nextDeadline(now: self.at(9)) == self.at(10))
    #expect(accumulator.readyLeaders(now: self.at(10)) == [1])
    let batches = self.drain(&accumulator, at: 10)
    #expect(batches.map(\.recordCount) == [2])
    #expect(accumulator.readyLeaders(now: self.at(100)) == [])
  }

  @Test func aFullBatchLeavesAtOnceAndTheNextBegins() {
    var accumulator = self.make(batch: 200)
    let text = String(repeating: "x", count: 60)
    self.append(&accumulator, text)
    #expect(self.append(&accumulator, text) == .appended(wakes: true, opened: true), "61 + 2 x 60 and overhead exceed 200")
    #expect(self.drain(&accumulator, at: 0).map(\.recordCount) == [1])
    #expect(self.drain(&accumulator, at: 0).isEmpty, "the second is still open")
  }

  @Test func aRecordLargerThanABatchTravelsAlone() {
    var accumulator = self.make(batch: 100)
    self.append(&accumulator, "a")
    self.append(&accumulator, String(repeating: "x", count: 500))
    self.append(&accumulator, "b")
    #expect(self.drain(&accumulator, at: 0).map(\.recordCount) == [1])
    #expect(self.drain(&accumulator, at: 0).map(\.recordCount) == [1])
    #expect(self.drain(&accumulator, at: 10).map(\.recordCount) == [1])
  }

  @Test func aRecordBeyondTheLimitIsRefused() {
    var accumulator = Accumulator(limits: ProducerLimits(recordByteCountMax: 100))
    _ = accumulator.slot(for: self.partition)
    #expect(self.append(&accumulator, String(repeating: "x", count: 101)) == .recordTooLarge(byteCount: 137))
    #expect(accumulator.isEmpty)
  }

  @Test func flushingAndStarvingLetOpenBatchesGo() {
    var accumulator = self.make(linger: .seconds(5))
    self.append(&accumulator, "a")
    accumulator.isFlushing = true
    #expect(self.drain(&accumulator, at: 0).count == 1)

    var small = self.make(linger: .seconds(5), buffer: 150)
    self.append(&small, "a")
    #expect(self.append(&small, String(repeating: "x", count: 100)) == .bufferFull)
    let batch = self.drain(&small, at: 0)
    #expect(batch.count == 1)
    #expect(self.append(&small, String(repeating: "x", count: 100)) == .bufferFull, "what is under way still needs its memory")
    #expect(small.complete(batch[0], .written(baseOffset: 0, logAppendTime: -1), now: self.at(1)) != nil)
    #expect(self.append(&small, String(repeating: "x", count: 100)) == .appended(wakes: true, opened: true))
  }

  @Test func reportsCarryWaitersAndFreeMemory() throws {
    var accumulator = self.make()
    self.append(&accumulator, "a", waiter: 11)
    self.append(&accumulator, "b")
    self.append(&accumulator, "c", waiter: 13)
    var batch = self.drain(&accumulator, at: 10)[0]
    batch.encoded = try batch.records.encode(
      codec: CompressionCodec.none, level: nil, identity: batch.identity, baseSequence: batch.baseSequence, using: Compressor())
    #expect(accumulator.byteCount > 0)
    #expect(batch.recordCount == 3, "encoding does not forget what it encoded")
    let completed = accumulator.complete(batch, .written(baseOffset: 40, logAppendTime: -1), now: self.at(11))
    let report = try #require(completed)
    #expect(report.waiters.map(\.index) == [0, 2])
    #expect(report.waiters.map(\.waiter) == [11, 13])
    #expect(try report.result.get().baseOffset == 40)
    #expect(accumulator.byteCount == 0)
    #expect(accumulator.isEmpty)
  }

  @Test func aRequestTakesOneBatchPerPartitionUpToItsSize() {
    var accumulator = self.make(batch: 200, linger: .zero)
    for number in 1...3 {
      let slot = accumulator.slot(for: KafkaClient.TopicPartition(topic: "t", partition: Int32(number)))
      accumulator.setLeader(number == 3 ? 2 : 1, of: slot)
    }
    for slot in 0...3 { self.append(&accumulator, String(repeating: "x", count: 100), slot: slot) }
    var batches: [ProducerBatch<Int>] = []
    accumulator.drain(leader: 1, byteCountMax: 350, now: self.at(0), into: &batches)
    #expect(batches.count == 2, "three of 170 bytes are more than 350")
    accumulator.drain(leader: 1, byteCountMax: 350, now: self.at(0), into: &batches)
    #expect(batches.map(\.slot).sorted() == [0, 1, 2])
    #expect(accumulator.readyLeaders(now: self.at(0)) == [2])
  }

  // MARK: Order and sequences

  @Test func sequencesFollowTheRecords() {
    var accumulator = self.make(linger: .zero)
    for text in ["a", "b"] { self.append(&accumulator, text) }
    let first = self.drain(&accumulator, at: 0)[0]
    self.append(&accumulator, "c")
    let second = self.drain(&accumulator, at: 0)[0]
    #expect([first.baseSequence, second.baseSequence] == [0, 2])
    #expect(first.identity == ProducerIdentity(producerID: 7, producerEpoch: 0))
  }

  @Test func nothingLeavesBeforeTheIdentityIsKnown() {
    var accumulator = self.make(linger: .zero)
    accumulator.identity = nil
    self.append(&accumulator, "a")
    #expect(accumulator.needsIdentity)
    #expect(self.drain(&accumulator, at: 0).isEmpty)
    accumulator.identity = ProducerIdentity(producerID: 9, producerEpoch: 0)
    #expect(self.drain(&accumulator, at: 0).count == 1)
  }

  @Test func afterAFailureEverythingComesBackBeforeAnythingLeaves() {
    var accumulator = self.make(linger: .zero)
    var flight: [ProducerBatch<Int>] = []
    for text in ["a", "b", "c"] {
      self.append(&accumulator, text)
      flight += self.drain(&accumulator, at: 0)
    }
    #expect(accumulator.complete(flight[0], .refused(self.notLeader, promptly: true), now: self.at(1)) == nil)
    #expect(self.drain(&accumulator, at: 1).isEmpty, "two are still under way")
    #expect(accumulator.complete(flight[2], .refused(self.notLeader, promptly: true), now: self.at(1)) == nil)
    #expect(self.drain(&accumulator, at: 1).isEmpty)
    #expect(accumulator.complete(flight[1], .refused(self.notLeader, promptly: true), now: self.at(1)) == nil)
    let again = (0..<3).flatMap { _ in self.drain(&accumulator, at: 1) }
    #expect(again.map(\.id) == flight.map(\.id))
    #expect(again.map(\.baseSequence) == [0, 1, 2], "what is repeated keeps its numbers")
    #expect(again.allSatisfy { $0.attempts == 2 })
  }

  @Test func orderIsKeptWithoutIdempotenceToo() {
    var accumulator = self.make(linger: .zero, idempotent: false)
    var flight: [ProducerBatch<Int>] = []
    for text in ["a", "b"] {
      self.append(&accumulator, text)
      flight += self.drain(&accumulator, at: 0)
    }
    #expect(flight.allSatisfy { $0.identity == nil && $0.baseSequence == -1 })
    for batch in flight.reversed() {
      #expect(accumulator.complete(batch, .refused(self.notLeader, promptly: true), now: self.at(1)) == nil)
    }
    self.append(&accumulator, "c")
    #expect((0..<3).flatMap { _ in self.drain(&accumulator, at: 1) }.map(\.id) == [0, 1, 2])
  }

  @Test func waitsGrowUntilTheirMaximum() {
    var accumulator = self.make(linger: .zero)
    self.append(&accumulator, "a")
    var now: Int64 = 0
    for wait in [100, 200, 400, 400] as [Int64] {
      let batch = self.drain(&accumulator, at: now)[0]
      #expect(accumulator.complete(batch, .refused(self.notLeader, promptly: false), now: self.at(now)) == nil)
      #expect(accumulator.nextDeadline(now: self.at(now)) == self.at(now + wait))
      #expect(self.drain(&accumulator, at: now + wait - 1).isEmpty)
      now += wait
    }
  }

  @Test func whatTheBrokerKnowsAlreadyIsDelivered() throws {
    var accumulator = self.make(linger: .zero)
    self.append(&accumulator, "a")
    let batch = self.drain(&accumulator, at: 0)[0]
    let duplicate = KafkaError(.duplicateSequenceNumber)
    let completed = accumulator.complete(batch, .refused(duplicate, promptly: false), now: self.at(1))
    let report = try #require(completed)
    #expect(try report.result.get().baseOffset == -1)
  }

  @Test func aRefusalForGoodFreesItsNumbers() throws {
    var accumulator = self.make(linger: .zero)
    self.append(&accumulator, "a")
    let batch = self.drain(&accumulator, at: 0)[0]
    let tooLarge = KafkaError(.messageTooLarge)
    let completed = accumulator.complete(batch, .refused(tooLarge, promptly: false), now: self.at(1))
    let report = try #require(completed)
    #expect(throws: KafkaError.self) { try report.result.get() }
    self.append(&accumulator, "b", at: 1)
    let next = self.drain(&accumulator, at: 1)[0]
    #expect(next.baseSequence == 0)
    #expect(next.identity == ProducerIdentity(producerID: 7, producerEpoch: 0))
  }

  @Test func aLostSequenceStartsOverWithANewIdentity() {
    var accumulator = self.make(linger: .zero)
    var flight: [ProducerBatch<Int>] = []
    for text in ["a", "b"] {
      self.append(&accumulator, text)
      flight += self.drain(&accumulator, at: 0)
    }
    let lost = KafkaError(.outOfOrderSequenceNumber)
    for batch in flight { #expect(accumulator.complete(batch, .refused(lost, promptly: true), now: self.at(1)) == nil) }
    #expect(accumulator.needsIdentity)
    #expect(self.drain(&accumulator, at: 1).isEmpty)
    let fresh = ProducerIdentity(producerID: 8, producerEpoch: 0)
    accumulator.identity = fresh
    let again = (0..<2).flatMap { _ in self.drain(&accumulator, at: 1) }
    #expect(again.map(\.id) == flight.map(\.id))
    #expect(again.map(\.identity) == [fresh, fresh])
    #expect(again.map(\.baseSequence) == [0, 1])
  }

  @Test func anotherPartitionKeepsItsNumbersWhileItRepeats() {
    var accumulator = self.make(linger: .zero)
    let other = accumulator.slot(for: KafkaClient.TopicPartition(topic: "t", partition: 1))
    accumulator.setLeader(1, of: other)
    self.append(&accumulator, "a")
    self.append(&accumulator, "b", slot: other)
    let flight = self.drain(&accumulator, at: 0).sorted { $0.slot < $1.slot }
    #expect(accumulator.complete(flight[1], .refused(self.notLeader, promptly: true), now: self.at(1)) == nil)
    #expect(accumulator.complete(flight[0], .refused(KafkaError(.unknownProducerId), promptly: true), now: self.at(1)) == nil)
    accumulator.identity = ProducerIdentity(producerID: 8, producerEpoch: 0)
    let again = self.drain(&accumulator, at: 1).sorted { $0.slot < $1.slot }
    #expect(again.map { $0.identity?.producerID } == [8, 7], "the other's batch may be in the log under the old id")
  }

  @Test func whatWasSentAndExpiresCostsTheIdentity() {
    var accumulator = self.make(linger: .zero)
    self.append(&accumulator, "a")
    let batch = self.drain(&accumulator, at: 0)[0]
    #expect(accumulator.complete(batch, .refused(KafkaError(.requestTimedOut), promptly: false), now: self.at(5)) == nil)
    var reports: [DeliveryReport<Int>] = []
    accumulator.expire(now: self.at(9999), reason: "no leader", into: &reports)
    #expect(reports.isEmpty)
    accumulator.expire(now: self.at(10000), reason: "no leader", into: &reports)
    #expect(reports.count == 1)
    if case .failure(let error) = reports.first?.result { #expect(error.kind == .timeout && error.message.contains("no leader")) }
    self.append(&accumulator, "b", at: 10000)
    #expect(accumulator.needsIdentity)
  }

  @Test func attemptsAreLimited() throws {
    var accumulator = self.make(linger: .zero, attempts: 2)
    self.append(&accumulator, "a")
    let first = self.drain(&accumulator, at: 0)[0]
    #expect(accumulator.complete(first, .refused(self.notLeader, promptly: true), now: self.at(1)) == nil)
    let second = self.drain(&accumulator, at: 1)[0]
    let completed = accumulator.complete(second, .refused(self.notLeader, promptly: true), now: self.at(2))
    let report = try #require(completed)
    #expect(throws: self.notLeader) { try report.result.get() }
  }

  // MARK: Bytes

  @Test func aStampedBatchIsSoundAndCarriesItsIdentity() throws {
    var open = OpenBatch()
    open.append(key: nil, value: nil, headers: [RecordHeader("h", text: "v")], timestamp: 5)
    var bytes = try open.encode(
      codec: CompressionCodec.none, level: nil, identity: ProducerIdentity(producerID: 1, producerEpoch: 2), baseSequence: 3,
      using: Compressor())
    OpenBatch.restamp(&bytes, identity: ProducerIdentity(producerID: 10, producerEpoch: 20), baseSequence: 30)
    let view = try RecordBatchView(frontOf: bytes)
    try view.checkChecksum()
    #expect(view.header.producerID.rawValue == 10)
    #expect(view.header.producerEpoch.rawValue == 20)
    #expect(view.header.baseSequence == 30)
  }
}

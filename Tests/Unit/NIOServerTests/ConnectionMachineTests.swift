import Base
import Broker
import NIOCore
import Testing
import Wire

@testable import NIOServer

@Suite struct ConnectionMachineTests {
  let start = Instant(nanoseconds: 1_000)

  private func machine(_ change: (inout ServerLimits) -> Void = { _ in }) -> Machine {
    var limits = ServerLimits()
    change(&limits)
    return Machine(limits: limits, now: self.start)
  }

  private func answer(_ value: UInt8, count: Int = 1) -> Answer {
    Answer(ByteBuffer(repeating: value, count: count))
  }

  private func ready(_ machine: inout Machine) -> [UInt8] {
    var answers: [Answer] = []
    machine.takeReady(&answers, now: self.start)
    var first: [UInt8] = []
    for answer in answers {
      answer.forEach { piece in
        if case .bytes(let bytes) = piece { first += bytes.readableBytesView.prefix(1) }
      }
    }
    return first
  }

  private func serveAll(_ machine: inout Machine) -> [UInt64] {
    var slots: [UInt64] = []
    while case .request(let slot, _) = machine.next(now: self.start) { slots.append(slot) }
    return slots
  }

  private func receive(_ machine: inout Machine, requests: Int) {
    machine.receive(ByteBuffer(bytes: (0..<requests).flatMap { framed([UInt8($0)]) }), now: self.start)
  }

  @Test func answersLeaveInTheOrderOfRequests() {
    var machine = self.machine()
    self.receive(&machine, requests: 5)
    #expect(self.serveAll(&machine) == [0, 1, 2, 3, 4])
    machine.answer(3, self.answer(3))
    machine.answer(1, self.answer(1))
    #expect(!machine.hasReady)
    #expect(machine.outboundByteCount == 2)
    machine.answer(0, self.answer(0))
    #expect(self.ready(&machine) == [0, 1])
    machine.answer(4, self.answer(4))
    machine.answer(2, self.answer(2))
    #expect(self.ready(&machine) == [2, 3, 4])
    #expect(machine.inFlightCount == 0)
    #expect(machine.outboundByteCount == 0)
  }

  /// Every order in which five answers can come gives the same stream.
  @Test func everyOrderOfAnswers() {
    func permutations(_ items: [Int]) -> [[Int]] {
      items.count <= 1 ? [items] : items.indices.flatMap { index in
        var rest = items
        let item = rest.remove(at: index)
        return permutations(rest).map { [item] + $0 }
      }
    }
    for order in permutations(Array(0..<5)) {
      var machine = self.machine()
      self.receive(&machine, requests: 5)
      _ = self.serveAll(&machine)
      var sent: [UInt8] = []
      for slot in order {
        machine.answer(UInt64(slot), slot == 2 ? nil : self.answer(UInt8(slot)))
        sent += self.ready(&machine)
      }
      #expect(sent == [0, 1, 3, 4], "order \(order)")
    }
  }

  @Test func aLongHistoryKeepsOrder() {
    var machine = self.machine()
    var sent = 0
    for round in 0..<500 {
      self.receive(&machine, requests: 7)
      let slots = self.serveAll(&machine)
      #expect(slots.first == UInt64(round * 7))
      // One answer is held back for a round, so that the queue is never empty.
      for slot in slots.reversed() where slot % 7 != 3 { machine.answer(slot, self.answer(UInt8(slot % 251))) }
      if round > 0 { machine.answer(UInt64((round - 1) * 7 + 3), self.answer(UInt8(((round - 1) * 7 + 3) % 251))) }
      for value in self.ready(&machine) {
        #expect(value == UInt8(sent % 251))
        sent += 1
      }
    }
    #expect(sent == 500 * 7 - 4)
  }

  @Test func tooManyRequestsInFlight() {
    var machine = self.machine { $0.inFlightRequestsMax = 3 }
    self.receive(&machine, requests: 5)
    #expect(self.serveAll(&machine) == [0, 1, 2])
    #expect(!machine.wantsRead)
    machine.answer(1, self.answer(1))
    #expect(self.serveAll(&machine) == [], "an answer that waits for another one frees nothing")
    machine.answer(0, self.answer(0))
    #expect(self.serveAll(&machine) == [3, 4])
    #expect(!machine.wantsRead)
    machine.answer(2, nil)
    #expect(machine.wantsRead)
  }

  @Test func tooManyBytesInFlight() {
    var machine = self.machine { $0.inFlightByteCountMax = 10 }
    // Frames of six bytes: two are more than ten.
    machine.receive(ByteBuffer(bytes: (0..<5).flatMap { framed([UInt8](repeating: UInt8($0), count: 6)) }), now: self.start)
    #expect(self.serveAll(&machine) == [0, 1])
    #expect(machine.inFlightByteCount == 12 && !machine.wantsRead && !machine.canServe)
    machine.answer(1, self.answer(1))
    #expect(machine.inFlightByteCount == 6)
    #expect(self.serveAll(&machine) == [2], "an answered request holds nothing, though its answer has to wait")
    machine.answer(0, nil)
    machine.answer(2, self.answer(2))
    #expect(self.serveAll(&machine) == [3, 4])
    for slot in UInt64(3)...4 { machine.answer(slot, nil) }
    #expect(machine.inFlightByteCount == 0 && machine.wantsRead)
  }

  @Test func oneRequestIsServedWhateverItsSize() {
    var machine = self.machine { $0.inFlightByteCountMax = 10 }
    machine.receive(ByteBuffer(bytes: framed([UInt8](repeating: 0, count: 50)) + framed([1])), now: self.start)
    #expect(self.serveAll(&machine) == [0])
    machine.answer(0, nil)
    #expect(self.serveAll(&machine) == [1])
  }

  @Test func aClientThatTakesNothing() {
    var machine = self.machine { $0.outboundByteCountMax = 100 }
    self.receive(&machine, requests: 9)
    guard case .request(let first, _) = machine.next(now: self.start) else { return #expect(Bool(false)) }
    machine.answer(first, self.answer(1, count: 100))
    #expect(self.serveAll(&machine) == [], "100 bytes wait to be written")
    _ = self.ready(&machine)
    machine.writabilityChanged(false, now: self.start)
    #expect(self.serveAll(&machine) == [])
    #expect(!machine.wantsRead)
    machine.writabilityChanged(true, now: self.start)
    #expect(self.serveAll(&machine).count == 8)
    #expect(machine.wantsRead)
  }

  @Test func parkedAnswersCount() {
    var machine = self.machine { $0.outboundByteCountMax = 100 }
    self.receive(&machine, requests: 2)
    _ = self.serveAll(&machine)
    machine.answer(1, self.answer(1, count: 100))
    self.receive(&machine, requests: 1)
    #expect(self.serveAll(&machine) == [])
    #expect(!machine.wantsRead)
    machine.answer(0, self.answer(0))
    #expect(self.ready(&machine) == [0, 1])
    #expect(self.serveAll(&machine) == [2])
  }

  @Test func brokenBytesEndTheConnectionAfterTheAnswersBeforeThem() {
    var machine = self.machine()
    machine.receive(ByteBuffer(bytes: framed([1]) + framed([2]) + framed(-1, [])), now: self.start)
    #expect(self.serveAll(&machine) == [0, 1])
    #expect(machine.shouldClose == nil)
    #expect(!machine.wantsRead)
    machine.answer(1, self.answer(1))
    machine.answer(0, self.answer(0))
    #expect(machine.shouldClose == nil, "two answers are still to be written")
    #expect(self.ready(&machine) == [0, 1])
    #expect(machine.shouldClose == .framing(.nonPositiveLength(-1)))
  }

  @Test func aRefusedRequest() {
    var machine = self.machine()
    self.receive(&machine, requests: 3)
    #expect(self.serveAll(&machine) == [0, 1, 2])
    machine.close(.refused("bad header"), before: 1, now: self.start)
    machine.close(.refused("another"), before: 0, now: self.start)
    machine.answer(2, self.answer(2))
    #expect(machine.shouldClose == nil)
    machine.answer(0, self.answer(0))
    #expect(self.ready(&machine) == [0])
    #expect(machine.shouldClose == .refused("bad header"))
  }

  @Test func halfClosedPeerGetsItsAnswers() {
    var machine = self.machine()
    self.receive(&machine, requests: 2)
    #expect(self.serveAll(&machine) == [0, 1])
    machine.inputClosed(now: self.start)
    #expect(machine.shouldClose == nil)
    #expect(!machine.wantsRead)
    machine.answer(0, self.answer(0))
    machine.answer(1, self.answer(1))
    #expect(machine.shouldClose == nil)
    #expect(self.ready(&machine) == [0, 1])
    #expect(machine.shouldClose == .peerClosed)
  }

  @Test func halfClosedInTheMiddleOfAFrame() {
    var machine = self.machine()
    machine.receive(ByteBuffer(bytes: framed(10, [1, 2])), now: self.start)
    #expect(self.serveAll(&machine) == [])
    machine.inputClosed(now: self.start)
    #expect(machine.shouldClose == .peerClosed)
  }

  @Test func overdue() {
    let limits = ServerLimits()
    var machine = self.machine()
    #expect(machine.overdue(now: self.start + limits.idleMax) == nil)
    #expect(machine.overdue(now: self.start + limits.idleMax + .nanoseconds(1)) == .idle)

    self.receive(&machine, requests: 1)
    _ = self.serveAll(&machine)
    let late = self.start + limits.idleMax * 3
    #expect(machine.overdue(now: late) == nil, "a waiting request keeps its connection")
    machine.writabilityChanged(false, now: self.start)
    #expect(machine.overdue(now: late) == .idle, "a client that takes nothing does not")

    machine.inputClosed(now: late)
    #expect(machine.overdue(now: late + limits.closingMax) == nil)
    #expect(machine.overdue(now: late + limits.closingMax + .seconds(1)) == .peerClosed)
    machine.close(.shutdown, now: late)
    #expect(machine.overdue(now: late + limits.closingMax + .seconds(1)) == .closingTooSlow)
  }

  @Test func answerAfterTheEndIsDropped() {
    var machine = self.machine()
    self.receive(&machine, requests: 1)
    _ = self.serveAll(&machine)
    machine.close(.shutdown, before: 0, now: self.start)
    machine.answer(0, self.answer(0))
    #expect(!machine.hasReady)
    #expect(machine.shouldClose == .shutdown)
  }

  @Test func answeringTwiceStopsTheProcess() async {
    await #expect(processExitsWith: .failure) {
      var machine = Machine(limits: ServerLimits(), now: .origin)
      machine.receive(ByteBuffer(bytes: framed([1])), now: .origin)
      _ = machine.next(now: .origin)
      machine.answer(0, nil)
      machine.answer(0, nil)
    }
  }
}

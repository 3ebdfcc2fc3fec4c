/// The answers of one connection, put back into the order of their requests.
///
/// A slot is given to a request when it is read; its answer may come at any time. Answers leave in the order of slots, so one that comes
/// early is parked.
struct AnswerQueue {
  private enum Slot {
    /// - byteCount: of the request.
    case waiting(byteCount: Int)
    case answered(Answer?)
  }

  /// The slots from `firstUnsent` on, from `head` in the array.
  private var slots: [Slot] = []
  private var head = 0
  private(set) var firstUnsent: UInt64 = 0
  /// Bytes of answers that are parked.
  private(set) var parkedByteCount = 0
  /// Bytes of requests whose answers have not come.
  private(set) var waitingByteCount = 0

  /// The slot of the next request.
  var nextSlot: UInt64 { self.firstUnsent + UInt64(self.count) }
  /// Requests whose turn to leave has not come.
  var count: Int { self.slots.count - self.head }

  mutating func open(byteCount: Int) -> UInt64 {
    let slot = self.nextSlot
    self.slots.append(.waiting(byteCount: byteCount))
    self.waitingByteCount += byteCount
    return slot
  }

  /// Takes the answer of `slot`, nil if none is due, and appends to `ready` what may leave now. False if the slot is not waiting, which
  /// means that somebody answered twice.
  mutating func answer(_ slot: UInt64, _ answer: Answer?, into ready: inout [Answer]) -> Bool {
    guard slot >= self.firstUnsent, slot < self.nextSlot else { return false }
    let index = self.head + Int(slot - self.firstUnsent)
    guard case .waiting(let byteCount) = self.slots[index] else { return false }
    self.waitingByteCount -= byteCount
    if index > self.head {
      self.slots[index] = .answered(answer)
      self.parkedByteCount += answer?.byteCount ?? 0
      return true
    }
    if let answer { ready.append(answer) }
    self.advance()
    while self.count > 0, case .answered(let parked) = self.slots[self.head] {
      if let parked {
        self.parkedByteCount -= parked.byteCount
        ready.append(parked)
      }
      self.slots[self.head] = .answered(nil)
      self.advance()
    }
    return true
  }

  private mutating func advance() {
    self.head += 1
    self.firstUnsent += 1
    if self.head == self.slots.count {
      self.slots.removeAll(keepingCapacity: self.slots.count <= 64)
      self.head = 0
    } else if self.head >= 64, self.head * 2 >= self.slots.count {
      self.slots.removeSubrange(0..<self.head)
      self.head = 0
    }
  }
}

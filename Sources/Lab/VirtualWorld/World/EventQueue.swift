/// What is still to happen in a `World`: by time, and of equal times in the order of planning.
///
/// A heap of small entries beside the bodies, which stay where they are while entries move. Planning and taking are O(log n), taking back
/// is O(1).
struct EventQueue: Sendable {
  /// Names one planned event, also after it has happened.
  struct Ticket: Hashable, Sendable {
    var order: UInt64
    var slot: Int32
  }
  struct Due: Sendable {
    /// Nanoseconds of true time.
    var time: Int64
    var order: UInt64
    var owner: World.Owner?
    var body: World.Body
  }
  private struct Entry: Sendable {
    var time: Int64
    var order: UInt64
    var slot: Int32
    static func < (a: Entry, b: Entry) -> Bool { a.time == b.time ? a.order < b.order : a.time < b.time }
  }
  private struct Slot: Sendable {
    var order: UInt64
    var owner: World.Owner?
    /// Nil once it was taken back.
    var body: World.Body?
  }

  private var entries: [Entry] = []
  private var slots: [Slot] = []
  private var free: [Int32] = []
  private var nextOrder: UInt64 = 0

  mutating func add(_ time: Int64, _ owner: World.Owner?, _ body: @escaping World.Body) -> Ticket {
    let order = self.nextOrder
    self.nextOrder += 1
    let slot: Int32
    if let reused = self.free.popLast() {
      slot = reused
      self.slots[Int(slot)] = Slot(order: order, owner: owner, body: body)
    } else {
      slot = Int32(self.slots.count)
      self.slots.append(Slot(order: order, owner: owner, body: body))
    }
    self.rise(Entry(time: time, order: order, slot: slot))
    return Ticket(order: order, slot: slot)
  }

  /// The body, for its owner to release; nil if it has happened or was taken back before.
  mutating func cancel(_ ticket: Ticket) -> World.Body? {
    let slot = Int(ticket.slot)
    guard self.slots[slot].order == ticket.order else { return nil }
    defer { self.slots[slot].body = nil }
    return self.slots[slot].body
  }

  /// The first event that is due by `end`, which is then no longer here.
  mutating func next(upTo end: Int64) -> Due? {
    while let first = self.entries.first, first.time <= end {
      let slot = Int(first.slot)
      let (owner, body) = (self.slots[slot].owner, self.slots[slot].body)
      self.slots[slot] = Slot(order: .max, owner: nil, body: nil)
      self.free.append(first.slot)
      self.removeFirst()
      if let body { return Due(time: first.time, order: first.order, owner: owner, body: body) }
    }
    return nil
  }

  // MARK: - The heap, of four children each

  private mutating func rise(_ entry: Entry) {
    self.entries.append(entry)
    var place = self.entries.count - 1
    while place > 0 {
      let parent = (place - 1) / 4
      guard entry < self.entries[parent] else { break }
      self.entries[place] = self.entries[parent]
      place = parent
    }
    self.entries[place] = entry
  }

  private mutating func removeFirst() {
    let last = self.entries.removeLast()
    let count = self.entries.count
    guard count > 0 else { return }
    var place = 0
    while true {
      let firstChild = place * 4 + 1
      guard firstChild < count else { break }
      var least = firstChild
      for child in firstChild + 1..<max(firstChild + 1, min(firstChild + 4, count)) where self.entries[child] < self.entries[least] {
        least = child
      }
      guard self.entries[least] < last else { break }
      self.entries[place] = self.entries[least]
      place = least
    }
    self.entries[place] = last
  }
}

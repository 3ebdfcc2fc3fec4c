/// Instead of an optional index: "no such node".
private let noNode: Int32 = -1

/// Deadlines of requests that wait: set and cancelled in constant time, because nearly every one is cancelled.
///
/// A hierarchical timing wheel (Varghese and Lauck 1987): seven levels of 64 slots, the lowest a millisecond wide, so every deadline up to
/// 139 years after the clock's origin has a place. Deadlines are rounded up to whole milliseconds and never fire early.
/// One bit per slot says whether it holds anything, so the next deadline is found without walking empty slots.
package struct TimerWheel<Payload> {
  /// Names one deadline; stale after it fired or was cancelled.
  package struct Handle: Hashable, Sendable {
    fileprivate var node: Int32
    fileprivate var generation: UInt32
  }

  fileprivate struct Node {
    var payload: Payload?
    var tick: UInt64 = 0
    var previous: Int32 = noNode
    var next: Int32 = noNode
    var generation: UInt32 = 0
    /// Its place in `heads`.
    var slot = 0
  }

  private static var levelCount: Int { 7 }
  private static var lastTick: UInt64 { 1 << (6 * UInt64(Self.levelCount)) - 1 }

  private var nodes: [Node] = []
  private var firstFree: Int32 = noNode
  private var heads = [Int32](repeating: noNode, count: 64 * Self.levelCount)
  private var occupied = [UInt64](repeating: 0, count: Self.levelCount)
  /// The wheel's time. Everything before it has fired.
  private var currentTick: UInt64
  /// How many deadlines are set.
  package private(set) var count = 0

  package init(now: Instant) { self.currentTick = UInt64(max(0, now.nanoseconds)) / 1_000_000 }

  package mutating func insert(_ payload: Payload, at deadline: Instant) -> Handle {
    let nanoseconds = UInt64(max(0, deadline.nanoseconds))
    let tick = nanoseconds / 1_000_000 + (nanoseconds % 1_000_000 == 0 ? 0 : 1)
    let index: Int32
    if self.firstFree == noNode {
      index = Int32(self.nodes.count)
      self.nodes.append(Node())
    } else {
      index = self.firstFree
      self.firstFree = self.nodes[Int(index)].next
    }
    self.nodes[Int(index)].payload = payload
    self.nodes[Int(index)].tick = min(max(tick, self.currentTick), Self.lastTick)
    self.link(index)
    self.count += 1
    return Handle(node: index, generation: self.nodes[Int(index)].generation)
  }

  /// Forgets the deadline and returns what it was for; nil if it fired or was cancelled before.
  @discardableResult
  package mutating func cancel(_ handle: Handle) -> Payload? {
    guard self.nodes.indices.contains(Int(handle.node)), self.nodes[Int(handle.node)].generation == handle.generation else { return nil }
    self.unlink(handle.node)
    return self.release(handle.node)
  }

  /// No deadline is due before this instant; nil if none is set. It may lie before the earliest deadline (by less than the span of the
  /// slot that holds it), in which case `advance` at that instant fires nothing and a later answer is exact.
  package var nextInstant: Instant? { self.nextSlot().map { Instant(nanoseconds: Int64($0.start) * 1_000_000) } }

  /// Moves the wheel to `now` and appends what is due to `due`, earliest first (in no particular order within a millisecond).
  package mutating func advance(to now: Instant, into due: inout [Payload]) {
    let tick = UInt64(max(0, now.nanoseconds)) / 1_000_000
    while let (level, slot, start) = self.nextSlot(), start <= tick {
      self.currentTick = max(self.currentTick, start)
      var index = self.heads[slot]
      self.heads[slot] = noNode
      self.occupied[level] &= ~(1 << UInt64(slot & 63))
      while index != noNode {
        let next = self.nodes[Int(index)].next
        if level == 0 {
          if let payload = self.release(index) { due.append(payload) }
        } else {
          self.link(index)
        }
        index = next
      }
    }
    self.currentTick = max(self.currentTick, tick)
  }

  /// The occupied slot whose span begins first. All deadlines of one level share the higher bits of the current time, so
  /// a lower level is always earlier than a higher one and the lowest set bit of a level is its earliest slot.
  private func nextSlot() -> (level: Int, slot: Int, start: UInt64)? {
    for level in 0..<Self.levelCount where self.occupied[level] != 0 {
      let slot = self.occupied[level].trailingZeroBitCount
      let shift = 6 * UInt64(level)
      let start = (self.currentTick >> (shift + 6)) << (shift + 6) | UInt64(slot) << shift
      return (level, level * 64 + slot, start)
    }
    return nil
  }

  private mutating func link(_ index: Int32) {
    let tick = self.nodes[Int(index)].tick
    let level = (63 - ((tick ^ self.currentTick) | 63).leadingZeroBitCount) / 6
    let digit = Int((tick >> (6 * UInt64(level))) & 63)
    let slot = level * 64 + digit
    let head = self.heads[slot]
    self.nodes[Int(index)].slot = slot
    self.nodes[Int(index)].previous = noNode
    self.nodes[Int(index)].next = head
    if head != noNode { self.nodes[Int(head)].previous = index }
    self.heads[slot] = index
    self.occupied[level] |= 1 << UInt64(digit)
  }

  private mutating func unlink(_ index: Int32) {
    let node = self.nodes[Int(index)]
    if node.next != noNode { self.nodes[Int(node.next)].previous = node.previous }
    if node.previous != noNode {
      self.nodes[Int(node.previous)].next = node.next
    } else {
      self.heads[node.slot] = node.next
      if node.next == noNode { self.occupied[node.slot / 64] &= ~(1 << UInt64(node.slot & 63)) }
    }
  }

  private mutating func release(_ index: Int32) -> Payload? {
    let payload = self.nodes[Int(index)].payload
    self.nodes[Int(index)].payload = nil
    self.nodes[Int(index)].generation &+= 1
    self.nodes[Int(index)].next = self.firstFree
    self.firstFree = index
    self.count -= 1
    return payload
  }
}

extension TimerWheel: Sendable where Payload: Sendable {}
extension TimerWheel.Node: Sendable where Payload: Sendable {}

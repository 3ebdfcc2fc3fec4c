import Base

/// Events by time, and by the order they were added in at one time. A binary heap of places in a list, for events are large.
struct EventQueue<Event> {
  private struct Item {
    var at: Instant
    var number: UInt64
    var place: Int
    func precedes(_ other: Item) -> Bool { (self.at, self.number) < (other.at, other.number) }
  }
  private var items: [Item] = []
  private var events: [Event?] = []
  private var free: [Int] = []
  private var count: UInt64 = 0

  var nextTime: Instant? { self.items.first?.at }

  mutating func add(_ event: Event, at time: Instant) {
    self.count += 1
    let place = self.free.popLast() ?? self.events.count
    if place == self.events.count { self.events.append(event) } else { self.events[place] = event }
    self.items.append(Item(at: time, number: self.count, place: place))
    var child = self.items.count - 1
    while child > 0 {
      let parent = (child - 1) / 2
      guard self.items[child].precedes(self.items[parent]) else { return }
      self.items.swapAt(child, parent)
      child = parent
    }
  }

  mutating func next() -> (at: Instant, event: Event)? {
    guard let first = self.items.first else { return nil }
    let last = self.items.removeLast()
    if !self.items.isEmpty {
      self.items[0] = last
      self.sink()
    }
    guard let event = self.events[first.place].take() else { preconditionFailure("an event is gone") }
    self.free.append(first.place)
    return (first.at, event)
  }

  private mutating func sink() {
    var parent = 0
    while true {
      var smallest = parent
      for child in 2 * parent + 1...2 * parent + 2 where child < self.items.count && self.items[child].precedes(self.items[smallest]) {
        smallest = child
      }
      if smallest == parent { return }
      self.items.swapAt(parent, smallest)
      parent = smallest
    }
  }
}

import Model

/// A batch boundary: the batch before it ends below `offset`, and the next byte of the segment belongs to the batch after it.
struct Boundary: Hashable, Sendable {
  var offset: Offset
  var segmentBaseOffset: Offset
  var position: Int64
}

/// Remembers where the last reads and flushes ended, so that a consumer that reads on, and the high watermark that follows the
/// flushes, need no look-up. A handful of consumers per partition is the usual case; more merely look up again.
struct BoundaryCache: Sendable {
  private static let countMax = 8
  private var recent: [Boundary] = []
  private var oldest = 0
  private var flushed: Boundary?

  subscript(offset: Offset) -> Boundary? {
    if let flushed, flushed.offset == offset { return flushed }
    for boundary in self.recent where boundary.offset == offset { return boundary }
    return nil
  }

  mutating func rememberRead(_ boundary: Boundary, insteadOf previous: Offset) {
    // A reader that goes on takes the place of where it was, so that one fast reader does not push out the others.
    for index in self.recent.indices {
      if self.recent[index].offset == boundary.offset || self.recent[index].offset == previous {
        self.recent[index] = boundary
        return
      }
    }
    if self.recent.count < Self.countMax {
      self.recent.append(boundary)
    } else {
      self.recent[self.oldest] = boundary
      self.oldest = (self.oldest + 1) % Self.countMax
    }
  }

  mutating func rememberFlush(_ boundary: Boundary) { self.flushed = boundary }

  mutating func removeAll() {
    self.recent.removeAll(keepingCapacity: true)
    self.oldest = 0
    self.flushed = nil
  }
}

/// A list without duplicates that keeps the order of first insertion: what changed, in the order in which it did.
package struct UniqueList<Element: Hashable & Sendable>: RandomAccessCollection, Sendable, Hashable, ExpressibleByArrayLiteral {
  private var elements: [Element] = []
  private var members: Set<Element> = []

  package init(arrayLiteral elements: Element...) {
    for element in elements { self.insert(element) }
  }

  package var startIndex: Int { 0 }
  package var endIndex: Int { self.elements.count }
  package subscript(position: Int) -> Element { self.elements[position] }
  package func contains(_ element: Element) -> Bool { self.members.contains(element) }

  package mutating func insert(_ element: Element) {
    if self.members.insert(element).inserted { self.elements.append(element) }
  }

  /// O(n) if it was there. Returns whether it was.
  mutating func remove(_ element: Element) -> Bool {
    guard self.members.remove(element) != nil else { return false }
    self.elements.removeAll { $0 == element }
    return true
  }

  /// Removes all that satisfy `condition`, in one pass.
  mutating func removeAll(where condition: (Element) -> Bool) {
    self.elements.removeAll { element in
      guard condition(element) else { return false }
      self.members.remove(element)
      return true
    }
  }
}

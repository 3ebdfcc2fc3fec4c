import Synchronization

/// A number that only grows, counted from any thread.
package final class Counter: Sendable {
  package let name: String
  private let count = Atomic<Int>(0)

  package init(_ name: String) { self.name = name }

  package func add(_ amount: Int = 1) { self.count.add(amount, ordering: .relaxed) }
  package var value: Int { self.count.load(ordering: .relaxed) }
}

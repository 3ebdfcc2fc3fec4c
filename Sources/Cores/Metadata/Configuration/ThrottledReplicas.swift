package import Model

/// The replicas of a topic that a replication quota holds for, on one side of the copying (KIP-73): `*`, or `partition:broker` pairs with
/// commas between them.
package enum ThrottledReplicas: Sendable, Hashable {
  package struct Replica: Sendable, Hashable, Comparable {
    package var partition: PartitionID
    package var node: NodeID
    package init(_ partition: PartitionID, _ node: NodeID) { (self.partition, self.node) = (partition, node) }
    package static func < (a: Replica, b: Replica) -> Bool { (a.partition, a.node) < (b.partition, b.node) }
  }

  case all
  /// In their order, each once. Empty: none.
  case some([Replica])

  package static let none = ThrottledReplicas.some([])

  /// Nil if the text is neither. Blank elements do not count, as in Kafka.
  package init?(_ text: String) {
    let elements = configList(text)
    if elements == ["*"] {
      self = .all
      return
    }
    var replicas: Set<Replica> = []
    for element in elements where !element.isEmpty {
      let parts = element.split(separator: ":", omittingEmptySubsequences: false)
      guard parts.count == 2, let partition = Self.number(parts[0]), let node = Self.number(parts[1]) else { return nil }
      replicas.insert(Replica(PartitionID(partition), NodeID(node)))
    }
    self = .some(replicas.sorted())
  }

  /// Digits and nothing else: no sign.
  private static func number(_ text: Substring) -> Int32? {
    guard text.utf8.allSatisfy({ UInt8(ascii: "0")...UInt8(ascii: "9") ~= $0 }) else { return nil }
    return Int32(text)
  }

  package func contains(_ partition: PartitionID, on node: NodeID) -> Bool {
    guard case .some(let replicas) = self else { return true }
    let wanted = Replica(partition, node)
    var (low, high) = (0, replicas.count)
    while low < high {
      let middle = (low + high) / 2
      if replicas[middle] < wanted { low = middle + 1 } else { high = middle }
    }
    return low < replicas.count && replicas[low] == wanted
  }
}

import KafkaClient

/// Makes a balanced assignment of replicas to brokers that moves as little as it can. A pure function of what it is given: the same cluster
/// gives the same plan.
///
/// 1. A replica stays where it is, unless its broker is not a target.
/// 2. A replica that must go is given to the target with the fewest replicas, in a rack that the partition is not in yet if there is one.
/// 3. Replicas that share a rack though another is free are spread.
/// 4. While one target has at least two replicas more than another, a replica moves from the one to the other: the smallest that may.
/// 5. The order within each assignment, which says who leads by preference, is changed until the leaderships are even: that moves nothing.
struct ReassignmentPlanner {
  struct Broker: Hashable {
    var id: Int32
    var rack: String?
    init(_ id: Int32, rack: String? = nil) { (self.id, self.rack) = (id, rack) }
  }
  struct Failure: Error, CustomStringConvertible {
    var description: String
  }

  private let racks: [Int32: String]
  private let targets: [Int32]
  private var assignments: [TopicPartition: [Int32]]
  /// In the order in which they are looked at.
  private let partitions: [TopicPartition]
  /// The smallest first.
  private let bySize: [TopicPartition]
  /// Replicas by target.
  private var loads: [Int32: Int]

  /// - Parameters:
  ///   - targets: the brokers that are to hold the replicas.
  ///   - byteCounts: of each partition, to prefer small ones; what is missing counts as empty.
  /// - Throws: if there are fewer targets than a partition has replicas.
  static func plan(
    _ current: [TopicPartition: [Int32]], targets: [Broker], byteCounts: [TopicPartition: Int64] = [:]
  ) throws(Failure) -> [TopicPartition: [Int32]] {
    if let widest = current.max(by: { ($0.value.count, $1.key) < ($1.value.count, $0.key) }), widest.value.count > targets.count {
      throw Failure(description: """
        \(widest.key) has \(widest.value.count) replicas, and only \(targets.count) \(targets.count == 1 ? "broker is" : "brokers are") \
        there to hold them
        """)
    }
    var planner = ReassignmentPlanner(current, targets, byteCounts)
    for id in planner.partitions { planner.replaceLost(id) }
    for id in planner.partitions { planner.spread(id) }
    while planner.balanceOnce() {}
    planner.balanceLeaders(current)
    return planner.assignments
  }

  /// Only gives the replicas of one broker to others: nothing else moves. The preferred leader stays, unless it is that broker.
  static func replacing(
    _ broker: Int32, in current: [TopicPartition: [Int32]], targets: [Broker]
  ) throws(Failure) -> [TopicPartition: [Int32]] {
    var planner = ReassignmentPlanner(current, targets, [:])
    var led: [Int32: Int] = [:]
    for replicas in current.values { if let first = replicas.first { led[first, default: 0] += 1 } }
    for id in planner.partitions {
      guard let place = current[id]!.firstIndex(of: broker) else { continue }
      var others = current[id]!
      others.remove(at: place)
      guard let best = planner.best(beside: others) else {
        let reason = "replicas: \(others.count + 1), other brokers alive: \(targets.count)"
        throw Failure(description: "nobody is there to take \(id) over (\(reason)); add a broker first")
      }
      planner.move(id, at: place, to: best)
      guard place == 0, let least = others.min(by: { (led[$0] ?? 0, $0) < (led[$1] ?? 0, $1) }) else { continue }
      // A replica that has the records leads at once; the new one has to copy them first.
      led[least, default: 0] += 1
      planner.assignments[id]!.swapAt(0, planner.assignments[id]!.firstIndex(of: least)!)
    }
    return planner.assignments
  }

  private init(_ current: [TopicPartition: [Int32]], _ targets: [Broker], _ byteCounts: [TopicPartition: Int64]) {
    self.assignments = current
    self.targets = targets.map(\.id).sorted()
    self.racks = Dictionary(targets.compactMap { broker in broker.rack.map { (broker.id, $0) } }, uniquingKeysWith: { $1 })
    self.partitions = current.keys.sorted()
    self.bySize = self.partitions.sorted { (byteCounts[$0] ?? 0, $0) < (byteCounts[$1] ?? 0, $1) }
    self.loads = Dictionary(uniqueKeysWithValues: self.targets.map { ($0, 0) })
    for replicas in current.values { for replica in replicas where self.loads[replica] != nil { self.loads[replica]! += 1 } }
  }

  // MARK: Racks

  /// A broker without a rack is one of its own.
  private func rack(_ broker: Int32) -> String { self.racks[broker] ?? "\u{0}\(broker)" }
  private func rackCount(_ replicas: [Int32]) -> Int { Set(replicas.map(self.rack)).count }

  /// The target that is to hold one more replica beside `others`; nil if all do.
  private func best(beside others: [Int32], where allowed: (Int32) -> Bool = { _ in true }) -> Int32? {
    let used = Set(others.map(self.rack))
    return self.targets.filter { !others.contains($0) && allowed($0) }.min { a, b in
      (used.contains(self.rack(a)) ? 1 : 0, self.loads[a]!, a) < (used.contains(self.rack(b)) ? 1 : 0, self.loads[b]!, b)
    }
  }

  // MARK: Steps

  private mutating func move(_ id: TopicPartition, at place: Int, to broker: Int32) {
    let old = self.assignments[id]![place]
    self.assignments[id]![place] = broker
    if self.loads[old] != nil { self.loads[old]! -= 1 }
    self.loads[broker]! += 1
  }

  private mutating func replaceLost(_ id: TopicPartition) {
    for place in self.assignments[id]!.indices where self.loads[self.assignments[id]![place]] == nil {
      var others = self.assignments[id]!
      others.remove(at: place)
      // There are as many targets as replicas, so one is left.
      if let broker = self.best(beside: others) { self.move(id, at: place, to: broker) }
    }
  }

  private mutating func spread(_ id: TopicPartition) {
    for place in self.assignments[id]!.indices.reversed() {
      let replicas = self.assignments[id]!
      var others = replicas
      others.remove(at: place)
      let used = Set(others.map(self.rack))
      guard used.contains(self.rack(replicas[place])) else { continue }
      if let broker = self.best(beside: others, where: { !used.contains(self.rack($0)) }) { self.move(id, at: place, to: broker) }
    }
  }

  /// One move from the fullest to the emptiest target between which one is possible. False if none helps.
  private mutating func balanceOnce() -> Bool {
    let byLoad = self.targets.sorted { (self.loads[$0]!, $0) < (self.loads[$1]!, $1) }
    for full in byLoad.reversed() {
      for empty in byLoad {
        if self.loads[full]! - self.loads[empty]! < 2 { break }
        let smallest = self.bySize.first { id in
          let replicas = self.assignments[id]!
          guard let place = replicas.firstIndex(of: full), !replicas.contains(empty) else { return false }
          var moved = replicas
          moved[place] = empty
          return self.rackCount(moved) >= self.rackCount(replicas)
        }
        guard let smallest else { continue }
        self.move(smallest, at: self.assignments[smallest]!.firstIndex(of: full)!, to: empty)
        return true
      }
    }
    return false
  }

  // MARK: Leaders

  /// Evens out who leads by preference. A leadership may have to pass through several brokers: from the fullest a way is looked for to one
  /// that has at least two less, each step from a partition's first replica to another of it.
  private mutating func balanceLeaders(_ current: [TopicPartition: [Int32]]) {
    var led: [Int32: [TopicPartition]] = Dictionary(uniqueKeysWithValues: self.targets.map { ($0, []) })
    for id in self.partitions { if let first = self.assignments[id]!.first { led[first, default: []].append(id) } }
    while true {
      let byCount = self.targets.sorted { (led[$0]!.count, $0) < (led[$1]!.count, $1) }
      guard let least = byCount.first else { return }
      var isChanged = false
      for full in byCount.reversed() where led[full]!.count - led[least]!.count >= 2 {
        guard let way = self.way(from: full, led, current) else { continue }
        for (id, from, to) in way {
          var replicas = self.assignments[id]!
          replicas.swapAt(0, replicas.firstIndex(of: to)!)
          self.assignments[id] = replicas
          led[from]!.removeAll { $0 == id }
          led[to]!.append(id)
        }
        isChanged = true
        break
      }
      if !isChanged { return }
    }
  }

  /// The shortest way, preferring partitions that move anyway.
  private func way(
    from start: Int32, _ led: [Int32: [TopicPartition]], _ current: [TopicPartition: [Int32]]
  ) -> [(TopicPartition, Int32, Int32)]? {
    var cameBy: [Int32: (TopicPartition, Int32)] = [:]
    var queue = [start]
    var next = 0
    while next < queue.count {
      let broker = queue[next]
      next += 1
      for movesAnyway in [true, false] {
        for id in led[broker]! where (self.assignments[id]! != current[id]!) == movesAnyway {
          if cameBy.count == self.targets.count - 1 { break }
          for other in self.assignments[id]!.dropFirst().sorted() where other != start && cameBy[other] == nil {
            cameBy[other] = (id, broker)
            if led[start]!.count - led[other]!.count >= 2 { return Self.way(from: start, to: other, cameBy) }
            queue.append(other)
          }
        }
      }
    }
    return nil
  }

  private static func way(
    from start: Int32, to end: Int32, _ cameBy: [Int32: (TopicPartition, Int32)]
  ) -> [(TopicPartition, Int32, Int32)] {
    var way: [(TopicPartition, Int32, Int32)] = []
    var place = end
    while place != start, let (id, from) = cameBy[place] {
      way.append((id, from, place))
      place = from
    }
    return way.reversed()
  }
}

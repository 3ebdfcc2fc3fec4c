import Base

/// What goes wrong when, as one seed has it: which kinds of trouble there are at all, how often, and for how long each time.
///
/// Whom it hits is decided by `choice` when the time comes, so that the plan is the same whatever becomes of the cluster.
struct FaultPlan: Sendable {
  struct Event: Sendable {
    /// Since the trouble began.
    var time: Duration
    var kind: FaultKind
    var length: Duration
    var choice: UInt64
  }
  /// In the order of their times.
  private(set) var events: [Event] = []
  private(set) var kinds: [FaultKind] = []

  /// - Parameters:
  ///   - allowed: in any order.
  ///   - span: how long the trouble goes on; what begins in it also ends in it.
  init(allowed: Set<FaultKind>, span: Duration, using generator: inout SeededGenerator) {
    let candidates = FaultKind.allCases.filter { allowed.contains($0) }
    guard !candidates.isEmpty else { return }
    // A part of all kinds in each seed: what always comes together hides what only shows apart.
    let share = UInt64.random(in: 2...8, using: &generator)
    self.kinds = candidates.filter { _ in UInt64.random(in: 0..<10, using: &generator) < share }
    if self.kinds.isEmpty { self.kinds = [candidates.randomElement(using: &generator)!] }
    for kind in self.kinds where kind.happens {
      var time = Duration.zero
      let interval = Self.meanInterval(of: kind, using: &generator)
      while true {
        time += .nanoseconds(Int64.random(in: interval / 8...interval * 2, using: &generator))
        let length = Self.length(of: kind, using: &generator)
        guard time < span else { break }
        self.events.append(Event(time: time, kind: kind, length: min(length, span - time), choice: generator.next()))
      }
    }
    // Stable: of equal times the one of the earlier kind comes first.
    self.events.sort { $0.time < $1.time }
  }

  /// Nanoseconds.
  private static func meanInterval(of kind: FaultKind, using generator: inout SeededGenerator) -> Int64 {
    let seconds: ClosedRange<Int64> = kind == .rolling || kind == .blackout ? 10...30 : 1...16
    // Between once and sixteen times the shortest, each doubling as likely as the next.
    let shift = Int64.random(in: 0...4, using: &generator)
    return min(seconds.upperBound, seconds.lowerBound << shift) * 1_000_000_000
  }

  private static func length(of kind: FaultKind, using generator: inout SeededGenerator) -> Duration {
    let milliseconds: ClosedRange<Int64> =
      switch kind {
      case .kill, .power, .crashAtWrite, .powerAtWrite, .restart: 20...8_000
      case .rolling: 100...2_000
      case .pause: 10...6_000
      case .fullDisk, .slowDisk, .slowWire: 200...8_000
      case .isolate, .cut: 50...10_000
      case .blackout: 20...3_000
      case .bitFlip: 20...8_000
      case .reassignKill: 20...5_000
      case .diskError, .reset, .clock, .reassign, .elect, .topics, .voters, .unclean: 0...0
      }
    // Short ones are as likely as long ones.
    let upper = Int64.random(in: milliseconds, using: &generator)
    return .milliseconds(Int64.random(in: milliseconds.lowerBound...max(milliseconds.lowerBound, upper), using: &generator))
  }
}

extension FaultKind {
  /// Whether it comes again and again. The others are there all the time.
  var happens: Bool { self != .clock && self != .unclean }
}

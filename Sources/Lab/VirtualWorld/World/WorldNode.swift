package import Base
package import Environment
package import Model
import Synchronization

/// How a node's clocks differ from true time.
package struct ClockError: Hashable, Sendable {
  /// What the wall clock is wrong by.
  package var wallOffset: Duration
  /// How much faster than true time both clocks run, in parts per million.
  package var driftPartsPerMillion: Int64
  package init(wallOffset: Duration = .zero, driftPartsPerMillion: Int64 = 0) {
    (self.wallOffset, self.driftPartsPerMillion) = (wallOffset, driftPartsPerMillion)
  }
}

/// How long blocking work takes before it is done, drawn anew each time.
package struct WorkLatency: Hashable, Sendable {
  /// Nanoseconds.
  package var range: ClosedRange<Int64>
  package init(_ range: ClosedRange<Int64>) { self.range = range }
  /// An SSD behind a queue: mostly short, see `slow`.
  package static let usual = WorkLatency(50_000...400_000)
  /// A disk in trouble.
  package static let slow = WorkLatency(20_000_000...200_000_000)
}

/// The surroundings of one life of one node in a `World`.
///
/// A process that is started again gets another `WorldNode` on the same machine and disk; timers, work and connections of the earlier
/// life never come back.
package final class WorldNode: Environment {
  package let disk: FaultyDisk
  package let network: WorldNetwork
  package let machine: Int
  let world: World
  let owner: World.Owner
  private let clock: ClockError
  private let bootTime: Timestamp

  private struct State: Sendable {
    var latency: WorkLatency
    /// When each lane is free again, in true nanoseconds.
    var lanes: [WorkLane: Int64] = [:]
  }
  private let state: Mutex<State>
  #if APUS_MUTANTS
    private let chosenMutant = Mutex(String?.none)
    package var mutant: String? {
      get { self.chosenMutant.withLock { $0 } }
      set { self.chosenMutant.withLock { $0 = newValue } }
    }
  #endif

  /// Begins a life of `machine`, which must have none.
  ///
  /// - Parameters:
  ///   - host: the name under which other nodes find this machine.
  ///   - origin: what a right wall clock shows when the world begins.
  package init(
    _ machine: Int, host: String, disk: FaultyDisk, clock: ClockError = ClockError(), latency: WorkLatency = .usual,
    origin: Timestamp = Timestamp(1_700_000_000_000), in world: World
  ) {
    self.machine = machine
    self.disk = disk
    self.world = world
    self.clock = clock
    self.bootTime = origin
    self.owner = world.begin(machine)
    self.network = WorldNetwork(world: world, owner: self.owner, host: host)
    self.state = Mutex(State(latency: latency))
  }

  /// Makes blocking work slower or quicker from now on.
  package func setLatency(_ latency: WorkLatency) { self.state.withLock { $0.latency = latency } }

  /// Whether this life goes on.
  package var isAlive: Bool { self.world.isCurrent(self.owner) }

  /// True time, which the node cannot see.
  package var worldTime: Instant { self.world.now }

  // MARK: - Environment

  package func now() -> Instant {
    let time = self.world.now.nanoseconds
    // A second past the origin, so that an instant minus a short while is one too.
    return Instant(nanoseconds: 1_000_000_000 + time + self.scaled(time))
  }

  package func wallClock() -> Timestamp {
    Timestamp(self.bootTime.rawValue + (self.now().nanoseconds + self.clock.wallOffset.wholeNanoseconds) / 1_000_000)
  }

  /// What the drift adds to a span of true time.
  private func scaled(_ nanoseconds: Int64) -> Int64 {
    // In two steps, since the product of a long time and a drift does not fit.
    nanoseconds / 1_000_000 * self.clock.driftPartsPerMillion
      + nanoseconds % 1_000_000 * self.clock.driftPartsPerMillion / 1_000_000
  }

  package func schedule(after delay: Duration, _ body: @escaping @Sendable () -> Void) -> WorldTimer {
    let span = max(0, delay.wholeNanoseconds)
    // As much true time as fills the clock's span, and two nanoseconds more, lest rounding make the timer early.
    let rate = 1_000_000 + self.clock.driftPartsPerMillion
    let ticket = self.world.plan(
      after: span / rate * 1_000_000 + span % rate * 1_000_000 / rate + (span == 0 ? 0 : 2), owner: self.owner, body)
    return WorldTimer(world: self.world, ticket: ticket)
  }

  /// Work takes its time and is then done in an instant: what it writes and syncs happens when it ends.
  package func submit(to lane: WorkLane, _ body: @escaping @Sendable () -> Void) {
    let latency = self.world.draw(self.state.withLock { $0.latency.range })
    let now = self.world.now.nanoseconds
    let end = self.state.withLock { state in
      let end = max(now, state.lanes[lane] ?? 0) + latency
      state.lanes[lane] = end
      return end
    }
    self.world.plan(after: end - now, owner: self.owner, body)
  }

  package func entropy() -> UInt64 { self.world.drawBits() }
}

/// A timer of a `WorldNode`.
package struct WorldTimer: TimerHandle {
  let world: World
  let ticket: EventQueue.Ticket
  package func cancel() { self.world.cancel(self.ticket) }
}

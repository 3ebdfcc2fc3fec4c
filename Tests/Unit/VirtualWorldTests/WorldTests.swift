import Base
import Environment
import NIOCore
import Synchronization
import Testing
import VirtualWorld

/// A world of machines: clocks, lives, wires.
@Suite struct WorldTests {
  /// What a test saw, in order.
  final class Notes: Sendable {
    private let lines = Mutex<[String]>([])
    func note(_ line: String) { self.lines.withLock { $0.append(line) } }
    var all: [String] { self.lines.withLock { $0 } }
  }

  private func node(_ world: World, _ host: String, clock: ClockError = ClockError()) -> WorldNode {
    WorldNode(world.addMachine(), host: host, disk: FaultyDisk(seed: 1), clock: clock, in: world)
  }

  private func frame(_ text: String) -> ByteBuffer {
    var buffer = ByteBuffer()
    buffer.writeInteger(Int32(text.utf8.count))
    buffer.writeString(text)
    return buffer
  }

  private func note(_ event: LinkEvent, _ who: String, _ notes: Notes) {
    switch event {
    case .opened: notes.note("\(who) opened")
    case .received(let body): notes.note("\(who) got \(String(buffer: body))")
    case .closed(let failure): notes.note("\(who) closed: \(failure)")
    }
  }

  /// A server that answers each frame with the same in capitals.
  private func listen(_ node: WorldNode, _ notes: Notes) {
    node.network.listen(9092) { link in
      return { event in
        self.note(event, "server", notes)
        if case .received(let body) = event { link.send(self.frame(String(buffer: body).uppercased())) }
      }
    }
  }

  private func connect(_ client: WorldNode, to host: String, _ notes: Notes) -> WorldLink {
    client.network.connect(to: NodeAddress(host: host, port: 9092), for: .control) { self.note($0, "client", notes) }
  }

  @Test func timersFireInOrderOfTheirTimesAndNotWhenCancelled() {
    let (world, notes) = (World(seed: 1), Notes())
    let node = self.node(world, "a")
    _ = node.schedule(after: .milliseconds(20)) { notes.note("20") }
    _ = node.schedule(after: .milliseconds(10)) { notes.note("10") }
    node.schedule(after: .milliseconds(15)) { notes.note("15") }.cancel()
    world.run(for: .milliseconds(12))
    #expect(notes.all == ["10"])
    world.run(for: .milliseconds(12))
    #expect(notes.all == ["10", "20"])
  }

  @Test func aClockThatDriftsIsNeverLateForItsOwnTimers() {
    for drift in [-5_000, -1, 0, 1, 5_000] as [Int64] {
      let world = World(seed: 1)
      let node = self.node(world, "a", clock: ClockError(driftPartsPerMillion: drift))
      let deadline = node.now() + .seconds(100)
      let fired = Mutex<Instant?>(nil)
      _ = node.schedule(after: .seconds(100)) { fired.withLock { $0 = node.now() } }
      world.run(for: .seconds(101))
      let time = fired.withLock { $0 }
      #expect(time.map { $0 >= deadline } == true, "drift \(drift): \(String(describing: time)) for \(deadline)")
      let shown = (node.now() - Instant(nanoseconds: 1_000_000_000)).wholeNanoseconds
      #expect(abs(shown - 101_000_000_000 * (1_000_000 + drift) / 1_000_000) <= 1)
    }
  }

  @Test func framesArriveInOrderAndAreAnswered() {
    let (world, notes) = (World(seed: 2), Notes())
    let (a, b) = (self.node(world, "a"), self.node(world, "b"))
    self.listen(b, notes)
    let link = self.connect(a, to: "b", notes)
    for word in ["one", "two", "three"] { link.send(self.frame(word)) }
    world.run(for: .seconds(1))
    #expect(notes.all.filter { $0.hasPrefix("server") } == ["server got one", "server got two", "server got three"])
    #expect(notes.all.filter { $0.hasPrefix("client") } == ["client opened", "client got ONE", "client got TWO", "client got THREE"])
    link.close()
    link.send(self.frame("four"))
    world.run(for: .seconds(1))
    #expect(notes.all.suffix(2) == ["client closed: closed here", "server closed: the other side closed the connection"])
  }

  @Test func aDeadProcessRefusesAndAMachineWithoutPowerIsSilent() {
    let (world, notes) = (World(seed: 3), Notes())
    let (a, b) = (self.node(world, "a"), self.node(world, "b"))
    self.listen(b, notes)
    let first = self.connect(a, to: "b", notes)
    world.run(for: .milliseconds(10))
    world.kill(b.machine)
    world.run(for: .milliseconds(10))
    #expect(notes.all.last == "client closed: the other side closed the connection")
    let second = self.connect(a, to: "b", notes)
    world.run(for: .milliseconds(10))
    #expect(notes.all.last == "client closed: connection refused: nothing listens there")
    world.cutPower(b.machine)
    let third = self.connect(a, to: "b", notes)
    world.run(for: .milliseconds(1_900))
    #expect(notes.all.count == 3)
    world.run(for: .milliseconds(300))
    #expect(notes.all.last == "client closed: not reachable: no answer in time")
    _ = (first, second, third)
  }

  @Test func aConnectionToAnEarlierLifeIsResetWhenItIsUsed() {
    let (world, notes) = (World(seed: 4), Notes())
    let (a, b) = (self.node(world, "a"), self.node(world, "b"))
    self.listen(b, notes)
    let link = self.connect(a, to: "b", notes)
    world.run(for: .milliseconds(10))
    world.cutPower(b.machine)
    world.run(for: .milliseconds(10))
    #expect(notes.all == ["client opened"])
    let again = WorldNode(b.machine, host: "b", disk: b.disk, in: world)
    self.listen(again, notes)
    link.send(self.frame("hello"))
    world.run(for: .milliseconds(10))
    #expect(notes.all == ["client opened", "client closed: the other side closed the connection"])
  }

  @Test func aCutWireHoldsBackInOneDirectionUntilItIsMended() {
    let (world, notes) = (World(seed: 5), Notes())
    let (a, b) = (self.node(world, "a"), self.node(world, "b"))
    self.listen(b, notes)
    let link = self.connect(a, to: "b", notes)
    world.run(for: .milliseconds(10))
    world.net.cut(from: b.machine, to: a.machine)
    link.send(self.frame("one"))
    world.run(for: .milliseconds(100))
    #expect(notes.all == ["client opened", "server got one"])
    link.send(self.frame("two"))
    world.net.mend(from: b.machine, to: a.machine, in: world)
    world.run(for: .seconds(1))
    #expect(notes.all == ["client opened", "server got one", "server got two", "client got ONE", "client got TWO"])
  }

  @Test func aPausedNodeMissesNothing() {
    let (world, notes) = (World(seed: 6), Notes())
    let (a, b) = (self.node(world, "a"), self.node(world, "b"))
    self.listen(b, notes)
    let link = self.connect(a, to: "b", notes)
    world.run(for: .milliseconds(10))
    world.pause(b.machine)
    link.send(self.frame("one"))
    link.send(self.frame("two"))
    world.run(for: .seconds(1))
    #expect(notes.all == ["client opened"])
    world.resume(b.machine)
    world.run(for: .milliseconds(10))
    #expect(notes.all.filter { $0.hasPrefix("server") } == ["server got one", "server got two"])
  }

  @Test func nothingOfAnEarlierLifeHappens() {
    let (world, notes) = (World(seed: 7), Notes())
    let a = self.node(world, "a")
    _ = a.schedule(after: .milliseconds(10)) { notes.note("timer") }
    a.submit(to: .background) { notes.note("work") }
    world.kill(a.machine)
    let again = WorldNode(a.machine, host: "a", disk: a.disk, in: world)
    _ = again.schedule(after: .milliseconds(10)) { notes.note("new timer") }
    world.run(for: .seconds(1))
    #expect(notes.all == ["new timer"])
  }

  @Test func workOfOneLaneRunsInOrder() {
    let (world, notes) = (World(seed: 8), Notes())
    let a = self.node(world, "a")
    a.setLatency(.slow)
    a.submit(to: .background) { notes.note("slow") }
    a.setLatency(.usual)
    a.submit(to: .background) { notes.note("quick, behind") }
    a.submit(to: .metadata) { notes.note("another lane") }
    world.run(for: .seconds(1))
    #expect(notes.all == ["another lane", "slow", "quick, behind"])
  }

  @Test func aSeedGivesTheSameRun() {
    func run(_ seed: UInt64) -> (UInt64, [String]) {
      let (world, notes) = (World(seed: seed), Notes())
      let (a, b) = (self.node(world, "a"), self.node(world, "b"))
      self.listen(b, notes)
      let link = self.connect(a, to: "b", notes)
      for word in 0..<20 { link.send(self.frame("\(word)")) }
      world.after(.milliseconds(2)) { world.net.reset(a.machine, b.machine, in: world) }
      world.run(for: .seconds(1))
      return (world.digest, notes.all)
    }
    for seed in 1...5 as ClosedRange<UInt64> {
      let (first, second) = (run(seed), run(seed))
      #expect(first == second)
    }
    #expect(run(1).0 != run(2).0)
  }
}

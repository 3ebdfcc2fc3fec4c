import Broker
import Environment
import Model
import NIOCore
import Storage
import Synchronization
import Testing
import VirtualWorld
import Wire

/// Partitions that are out of service, and what becomes of them and of their topics.
@Suite("Partitions out of service")
struct OfflineTests {
  private static let segment = "t-0/00000000000000000000.log"
  private func count(_ node: TestNode, _ predicate: (BrokerEvent) -> Bool) -> Int { node.events.all.count(where: predicate) }

  /// A topic with one record, whose partition cannot be opened by the next process.
  private func offline(_ kind: DiskError.Kind = .tooManyOpenFiles, killed: Bool = false) throws -> TestNode {
    let node = try TestNode()
    try node.createTopic("t")
    #expect(try node.produce("t", ["old"]).errorCode == .none)
    if !killed { try node.stop() }
    // After a kill the segment is opened to be written anew first, and then again with its log.
    for _ in 0..<(killed ? 2 : 1) { node.disk.inject(DiskFault(.open, kind, pathSuffix: Self.segment)) }
    let next =
      killed ? try node.killedAndRestarted() : try TestNode(disk: node.disk, seed: 2, at: node.environment.wallClock())
    #expect(try next.produce("t", ["refused"]).errorCode == .kafkaStorageError)
    return next
  }

  @Test("A directory with a partition that was never opened is not marked as closed cleanly")
  func noCleanMark() throws {
    let node = try self.offline(killed: true)
    let next = try node.restarted()
    #expect(next.events.contains { if case .logDirectoryOpened(_, 1, false) = $0 { true } else { false } })
    #expect(try next.consume("t") == ["old"])
    let last = try next.restarted()
    #expect(last.events.contains { if case .logDirectoryOpened(_, 1, true) = $0 { true } else { false } })
  }

  @Test("Once it is back, the directory is closed cleanly")
  func cleanMarkAfterwards() throws {
    let node = try self.offline()
    node.environment.advance(by: .seconds(5))
    #expect(try node.consume("t") == ["old"])
    let next = try node.restarted()
    #expect(next.events.contains { if case .logDirectoryOpened(_, 1, true) = $0 { true } else { false } })
  }

  @Test("A partition whose disk failed is not tried again")
  func failedDisk() throws {
    let node = try self.offline(.io)
    node.environment.advance(by: .seconds(600))
    #expect(try node.produce("t", ["refused"]).errorCode == .kafkaStorageError)
    #expect(self.count(node) { if case .partitionBackOnline = $0 { true } else { false } } == 0)
    #expect(try node.killedAndRestarted().consume("t") == ["old"])
  }

  @Test("What a failed try cut off is told")
  func reportedCut() throws {
    let node = try TestNode()
    try node.createTopic("t")
    for value in ["a", "b"] { #expect(try node.produce("t", [value]).errorCode == .none) }
    node.disk.corrupt("/data/" + Self.segment, at: node.disk.contents(of: "/data/" + Self.segment)!.count - 1)
    node.disk.inject(DiskFault(.syncDirectory, .tooManyOpenFiles, pathSuffix: "/t-0"))
    let next = try node.killedAndRestarted()
    next.environment.advance(by: .seconds(2))
    #expect(self.count(next) { if case .logRecovered(let report) = $0 { report.removedByteCount > 0 } else { false } } == 1)
    #expect(try next.consume("t") == ["a"])
  }

  @Test("A topic with a partition out of service is deleted with its files, and can be made again")
  func deletion() throws {
    let node = try self.offline()
    #expect(try node.ask(DeleteTopicsRequest(topics: [.init(name: "t")])).responses[0].errorCode == .none)
    #expect(try node.disk.kind(of: "/data/t-0") == nil)
    #expect(try node.disk.list("/data").contains { $0.name.hasSuffix("-delete") })
    try node.createTopic("t")
    #expect(try node.produce("t", ["new"]).baseOffset == 0)
    node.environment.advance(by: .seconds(120))
    #expect(try !node.disk.list("/data").contains { $0.name.hasSuffix("-delete") })
    #expect(try node.killedAndRestarted().consume("t") == ["new"])
  }

  @Test("A deletion that the disk refuses does not stand in the way of a topic of the same name",
    arguments: [
      DiskFault(.rename, .permissionDenied, pathSuffix: "/t-0"),
      DiskFault(.open, .tooManyOpenFiles, pathSuffix: "recovery-point-offset-checkpoint.tmp"),
    ])
  func refusedDeletion(fault: DiskFault) throws {
    let node = try TestNode()
    try node.createTopic("t")
    #expect(try node.produce("t", ["old"]).errorCode == .none)
    // So that there is a checkpoint to forget.
    node.environment.advance(by: .seconds(120))
    node.disk.inject(fault)
    #expect(try node.ask(DeleteTopicsRequest(topics: [.init(name: "t")])).responses[0].errorCode == .none)
    #expect(self.count(node) { if case .backgroundWorkFailed = $0 { true } else { false } } == 1)
    try node.createTopic("t")
    #expect(try node.produce("t", ["new"]).baseOffset == 0)
    #expect(try node.consume("t") == ["new"])
    #expect(try node.killedAndRestarted().consume("t") == ["new"])
  }

  @Test("The metadata may change while a partition is opened once more: what has lost its topic goes, what is new is made after it")
  func deletedDuringOpen() throws {
    let node = try self.offline(killed: true)
    let frames = [
      TestNode.frame(DeleteTopicsRequest(topics: [.init(name: "t")])),
      TestNode.frame(CreateTopicsRequest(topics: [.init(name: "t", numPartitions: 1, replicationFactor: 1)])),
    ]
    let (broker, environment, client) = (node.broker, node.environment, node.connect())
    let (context, sink) = (client.context, client.sink)
    let hasRun = Mutex(false)
    node.events.onRecord { event in
      guard case .logRecovered = event, hasRun.withLock({ hasRun in
        defer { hasRun = true }
        return !hasRun
      }) else { return }
      for frame in frames {
        broker.handle(frame, from: context, reply: Reply(sink: sink, slot: sink.open()))
        environment.settle()
      }
    }
    node.environment.advance(by: .milliseconds(1_500))
    #expect(sink.frame(0) != nil && sink.frame(1) != nil)
    #expect(self.count(node) { if case .partitionDeleted = $0 { true } else { false } } == 1)
    #expect(self.count(node) { if case .partitionBackOnline = $0 { true } else { false } } == 0)
    node.environment.advance(by: .seconds(5))
    #expect(try node.produce("t", ["new"]).baseOffset == 0)
    #expect(try node.killedAndRestarted().consume("t") == ["new"])
  }
}

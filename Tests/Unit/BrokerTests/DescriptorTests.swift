import Broker
import Controller
import Environment
import Model
import Storage
import Testing
import VirtualWorld
import Wire

/// Running out of file descriptors, and other refusals of the disk that pass.
@Suite("Refusals that pass")
struct DescriptorTests {
  private func count(_ node: TestNode, _ predicate: (BrokerEvent) -> Bool) -> Int { node.events.all.count(where: predicate) }

  @Test("A flush that finds no descriptor is tried again, and said once; the produce is answered then")
  func deferredFlush() throws {
    let node = try TestNode()
    try node.createTopic("t")
    // The first flush syncs the new directory, which takes a descriptor.
    for _ in 0..<3 { node.disk.inject(DiskFault(.syncDirectory, .tooManyOpenFiles, pathSuffix: "/t-0")) }
    let pending = node.send(produceRequest("t", try batch(["a"])), version: 12)
    #expect(!pending.isAnswered)
    // What waits for the disk is not to be seen.
    #expect(try node.consume("t") == [])
    node.environment.advance(by: .seconds(1))
    #expect(!pending.isAnswered)
    node.environment.advance(by: .seconds(1))
    #expect(try pending.response()?.responses[0].partitionResponses[0].errorCode == ErrorCode.none)
    #expect(self.count(node) { if case .flushDeferred = $0 { true } else { false } } == 1)
    #expect(self.count(node) { if case .partitionOffline = $0 { true } else { false } } == 0)
    #expect(try node.produce("t", ["b"]).errorCode == .none)
    #expect(try node.consume("t") == ["a", "b"])
    let next = try node.killedAndRestarted(losingPower: true)
    #expect(try next.consume("t") == ["a", "b"])
  }

  @Test("Flushes that are put off set one timer, however many ask")
  func oneTimer() throws {
    let node = try TestNode()
    try node.createTopic("t")
    for _ in 0..<10 { node.disk.inject(DiskFault(.syncDirectory, .tooManyOpenFiles, pathSuffix: "/t-0")) }
    var pending = [node.send(produceRequest("t", try batch(["0"])), version: 12)]
    let timers = node.environment.timerCount
    for index in 1..<10 { pending.append(node.send(produceRequest("t", try batch(["\(index)"])), version: 12)) }
    #expect(node.environment.timerCount == timers)
    #expect(pending.allSatisfy { !$0.isAnswered })
    node.environment.advance(by: .milliseconds(500))
    for produce in pending { #expect(try produce.response()?.responses[0].partitionResponses[0].errorCode == ErrorCode.none) }
  }

  @Test("A roll that finds no descriptor refuses the batch so that the client tries again, and is said once")
  func refusedRoll() throws {
    let node = try TestNode()
    try node.createTopic("t", configs: ["segment.bytes": "300"])
    for _ in 0..<2 { #expect(try node.produce("t", [String(repeating: "x", count: 90)]).errorCode == .none) }
    for _ in 0..<2 { node.disk.inject(DiskFault(.open, .tooManyOpenFiles, pathSuffix: "t-0/00000000000000000002.log")) }
    for _ in 0..<2 { #expect(try node.produce("t", [String(repeating: "y", count: 90)]).errorCode == .kafkaStorageError) }
    #expect(self.count(node) { if case .appendRefused = $0 { true } else { false } } == 1)
    #expect(self.count(node) { if case .partitionOffline = $0 { true } else { false } } == 0)
    #expect(try node.produce("t", ["z"]).baseOffset == 2)
    #expect(try node.consume("t").last == "z")
  }

  @Test("A read that finds no descriptor is refused so that the client tries again, and is said once")
  func refusedRead() throws {
    let node = try TestNode()
    try node.createTopic("t", configs: ["segment.bytes": "300"])
    for _ in 0..<3 { #expect(try node.produce("t", [String(repeating: "x", count: 190)]).errorCode == .none) }
    let next = try node.restarted()
    for _ in 0..<2 { next.disk.inject(DiskFault(.open, .tooManyOpenFiles, pathSuffix: "t-0/00000000000000000000.log")) }
    for _ in 0..<2 {
      #expect(try next.ask(fetchRequest("t", from: 0), version: 12).onlyPartition?.errorCode == .kafkaStorageError)
    }
    #expect(try next.consume("t").count == 3)
    #expect(self.count(next) { if case .readFailed = $0 { true } else { false } } == 1)
    #expect(try next.produce("t", ["more"]).errorCode == .none)
  }

  @Test("A sync that fails is fatal for the log all the same")
  func failedSync() throws {
    let node = try TestNode()
    try node.createTopic("t")
    #expect(try node.produce("t", ["a"]).errorCode == .none)
    node.disk.inject(DiskFault(.sync, .io, pathSuffix: "t-0/00000000000000000000.log"))
    #expect(try node.produce("t", ["b"]).errorCode == .kafkaStorageError)
    node.environment.advance(by: .seconds(600))
    #expect(try node.produce("t", ["c"]).errorCode == .kafkaStorageError)
    #expect(self.count(node) { if case .partitionOffline = $0 { true } else { false } } == 1)
    #expect(self.count(node) { if case .partitionBackOnline = $0 { true } else { false } } == 0)
  }

  @Test("A partition that could not be opened at the start is tried again, later and later, until it can be")
  func offlineAtStart() throws {
    let node = try TestNode()
    try node.createTopic("t", partitions: 2)
    for partition in Int32(0)..<2 { #expect(try node.produce("t", partition: partition, ["kept"]).errorCode == .none) }
    try node.stop()
    for _ in 0..<3 { node.disk.inject(DiskFault(.open, .tooManyOpenFiles, pathSuffix: "t-1/00000000000000000000.log")) }
    let next = try TestNode(disk: node.disk, seed: 2, at: node.environment.wallClock())
    #expect(try next.consume("t", partition: 0) == ["kept"])
    #expect(try next.produce("t", partition: 1, ["refused"]).errorCode == .kafkaStorageError)
    // The first try comes after a second and the next after two more; the fault is gone after the second.
    next.environment.advance(by: .seconds(2))
    #expect(try next.produce("t", partition: 1, ["refused"]).errorCode == .kafkaStorageError)
    next.environment.advance(by: .seconds(8))
    #expect(try next.produce("t", partition: 1, ["more"]).baseOffset == 1)
    #expect(try next.consume("t", partition: 1) == ["kept", "more"])
    #expect(self.count(next) { if case .partitionOffline = $0 { true } else { false } } == 1)
    #expect(self.count(next) { if case .partitionBackOnline = $0 { true } else { false } } == 1)
    let last = try next.killedAndRestarted()
    #expect(try last.consume("t", partition: 1) == ["kept", "more"])
  }

  @Test("A partition whose directory could not be made is made later")
  func offlineAtCreation() throws {
    let node = try TestNode()
    for _ in 0..<2 { node.disk.inject(DiskFault(.open, .tooManyOpenFiles, pathSuffix: "t-0/partition.metadata")) }
    try node.createTopic("t")
    #expect(try node.produce("t", ["refused"]).errorCode == .kafkaStorageError)
    node.environment.advance(by: .seconds(5))
    #expect(try node.produce("t", ["taken"]).baseOffset == 0)
    #expect(try node.killedAndRestarted().consume("t") == ["taken"])
  }

  @Test("A topic that is deleted while a partition of it waits to be opened is gone")
  func deletedWhileOffline() throws {
    let node = try TestNode()
    node.disk.inject(DiskFault(.open, .tooManyOpenFiles, pathSuffix: "t-0/partition.metadata"))
    try node.createTopic("t")
    #expect(try node.ask(DeleteTopicsRequest(topics: [.init(name: "t")])).responses[0].errorCode == .none)
    node.environment.advance(by: .seconds(60))
    #expect(self.count(node) { if case .partitionBackOnline = $0 { true } else { false } } == 0)
    #expect(try node.produce("t", ["refused"]).errorCode == .unknownTopicOrPartition)
  }

  @Test("A change of the metadata waits where its log finds no descriptor")
  func delayedMetadata() throws {
    let node = try TestNode()
    for _ in 0..<2 { node.disk.inject(DiskFault(.sync, .tooManyOpenFiles, pathSuffix: "__cluster_metadata-0/00000000000000000000.log")) }
    let pending = node.send(CreateTopicsRequest(topics: [.init(name: "t", numPartitions: 1, replicationFactor: 1)]))
    #expect(!pending.isAnswered)
    node.environment.advance(by: .seconds(2))
    #expect(try pending.response()?.topics[0].errorCode == ErrorCode.none)
    #expect(self.count(node) { if case .controller(let event) = $0, case .commitDelayed = event { true } else { false } } == 1)
    #expect(try node.produce("t", ["a"]).errorCode == .none)
  }
}

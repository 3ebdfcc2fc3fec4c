import Base
import Broker
import Environment
import Metadata
import Model
import NIOCore
import Storage
import Synchronization
import Testing
import VirtualWorld
import Wire

@Suite("Start, stop and upkeep")
struct LifecycleTests {
  @Test("A restart keeps topics, records, configs, ids and the cluster")
  func restart() throws {
    let node = try TestNode()
    let id = try node.createTopic("t", partitions: 3, configs: ["retention.ms": "123456789"])
    for partition in Int32(0)..<3 { _ = try node.produce("t", partition: partition, ["p\(partition)", "q"]) }
    let next = try node.restarted()
    #expect(next.broker.clusterID == node.broker.clusterID)
    #expect(try next.ask(MetadataRequest(topics: nil)).topics.map(\.topicId) == [id])
    for partition in Int32(0)..<3 { #expect(try next.consume("t", partition: partition) == ["p\(partition)", "q"]) }
    #expect(try next.produce("t", partition: 1, ["r"]).baseOffset == 2)
    #expect(next.events.contains { if case .logDirectoryOpened(_, 3, true) = $0 { true } else { false } })
    #expect(!next.events.contains { if case .logRecovered = $0 { true } else { false } })
    let configs = try next.ask(
      DescribeConfigsRequest(resources: [.init(resourceType: 2, resourceName: "t", configurationKeys: ["retention.ms"])]))
    #expect(configs.results[0].configs.map(\.value) == ["123456789"])
    // The epoch of a leader that stopped cleanly goes on.
    #expect(try next.ask(MetadataRequest(topics: nil)).topics[0].partitions.allSatisfy { $0.leaderId == 1 })
  }

  @Test("After a kill nothing that was acknowledged is missing, and the recovery is reported")
  func kill() throws {
    let node = try TestNode()
    try node.createTopic("t")
    for index in 0..<20 { #expect(try node.produce("t", ["\(index)"]).errorCode == .none) }
    let next = try node.killedAndRestarted()
    #expect(try next.consume("t") == (0..<20).map { "\($0)" })
    #expect(next.events.contains { if case .logRecovered(let report) = $0 { report.topicPartition.topic == "t" } else { false } })
  }

  @Test("A loss of power keeps what acks=all acknowledged", arguments: UInt64(1)...30)
  func powerLoss(seed: UInt64) throws {
    var random = SeededGenerator(seed: seed)
    var node = try TestNode(seed: seed)
    try node.createTopic("t", configs: ["segment.bytes": "600"])
    var acknowledged: [Int: String] = [:]
    var written = 0
    for _ in 0..<4 {
      for _ in 0..<(random.next() % 20) {
        if random.next() % 4 == 0 {
          node.environment.hold(.sync(logDirectory: 0))
        } else {
          node.environment.release(.sync(logDirectory: 0))
        }
        let value = "value-\(written)"
        let pending = node.send(produceRequest("t", try batch([value])), version: 12)
        written += 1
        if let partition = try pending.response()?.responses[0].partitionResponses[0], partition.errorCode == .none {
          acknowledged[Int(partition.baseOffset)] = value
        }
      }
      node = try node.killedAndRestarted(losingPower: true)
      let values = try node.consume("t")
      for (offset, value) in acknowledged { #expect(offset < values.count && values[offset] == value, "offset \(offset)") }
    }
  }

  @Test("A log that comes back under another topic's id, or under none, is set aside and kept")
  func strays() throws {
    let node = try TestNode()
    try node.createTopic("t")
    _ = try node.produce("t", ["precious"])
    try node.stop()
    // A directory that no metadata knows of, as after a restored backup.
    try node.disk.createDirectory("/data/ghost-0")
    let next = try TestNode(disk: node.disk, seed: 5)
    #expect(next.events.contains { if case .strayPartition(let path, _) = $0 { path.hasPrefix("/data/ghost-0.") } else { false } })
    #expect(try next.disk.list("/data").contains { $0.name.hasPrefix("ghost-0.") && $0.name.hasSuffix("-stray") })
    #expect(try next.consume("t") == ["precious"])
    try next.createTopic("ghost")
    #expect(try next.produce("ghost", ["x"]).errorCode == .none)
    _ = try next.restarted()
  }

  @Test("A partition whose directory is gone is made anew, and said so")
  func missingDirectory() throws {
    let node = try TestNode()
    try node.createTopic("t")
    try node.stop()
    try node.disk.removeTree("/data/t-0")
    let next = try TestNode(disk: node.disk, seed: 5)
    #expect(next.events.contains { if case .partitionCreated(TopicPartition("t", PartitionID(0)), _) = $0 { true } else { false } })
    #expect(try next.produce("t", ["x"]).baseOffset == 0)
  }

  @Test("A second process on the directory, another node's directory and bad settings are refused with a reason")
  func refusedStarts() throws {
    let node = try TestNode()
    func failure(_ settings: [String: String]) throws -> String {
      do {
        _ = try TestNode(disk: node.disk, seed: 9, settings: settings)
        return ""
      } catch let error as BrokerStartError { return error.description }
    }
    #expect(try failure([:]).contains("another process"))
    try node.stop()
    #expect(try failure(["node.id": "7"]).contains("belongs to node 1"))
    #expect(try failure(["listeners": "PLAINTEXT://h:1,PLAINTEXT://h:2"]) != "")
  }

  @Test("Old segments go by age and by size, and the log start follows")
  func retention() throws {
    let node = try TestNode(settings: ["log.retention.check.interval.ms": "1000"])
    try node.createTopic("age", configs: ["segment.bytes": "200", "retention.ms": "60000", "file.delete.delay.ms": "1000"])
    try node.createTopic("size", configs: ["segment.bytes": "200", "retention.bytes": "300"])
    let now = node.environment.wallClock().rawValue
    for topic in ["age", "size"] {
      for index in 0..<6 {
        _ = try node.ask(
          produceRequest(topic, try batch([String(repeating: "x", count: 80)], timestamp: now + Int64(index))), version: 12)
      }
    }
    node.environment.advance(by: .seconds(2))
    let kept = try #require(try node.ask(fetchRequest("size", from: 5), version: 12).onlyPartition)
    #expect(kept.logStartOffset > 0 && kept.errorCode == .none)
    #expect(try node.ask(fetchRequest("age", from: 0), version: 12).onlyPartition?.logStartOffset == 0)
    node.environment.advance(by: .seconds(90))
    let aged = try #require(try node.ask(fetchRequest("age", from: 6), version: 12).onlyPartition)
    #expect(aged.logStartOffset == 6 && aged.highWatermark == 6)
    #expect(node.events.contains { if case .recordsDeleted(_, _, .retention) = $0 { true } else { false } })
    #expect(try !node.disk.list("/data/age-0").contains { $0.name.hasSuffix(".deleted") })
    #expect(try node.produce("age", ["new"]).baseOffset == 6)
  }

  @Test("Checkpoints are written at intervals, so that a recovery reads only what came after")
  func checkpoints() throws {
    let node = try TestNode()
    try node.createTopic("t")
    for index in 0..<10 { _ = try node.produce("t", ["\(index)"]) }
    node.environment.advance(by: .seconds(120))
    for index in 10..<12 { _ = try node.produce("t", ["\(index)"]) }
    let next = try node.killedAndRestarted()
    let report = next.events.all.compactMap { event -> RecoveryReport? in
      if case .logRecovered(let report) = event, report.topicPartition.topic == "t" { report } else { nil }
    }.first
    #expect(report?.recoveryPoint == Offset(10))
    #expect(try next.consume("t").count == 12)
  }

  @Test("A shutdown acknowledges what it can make durable and marks the directory clean")
  func shutdown() throws {
    let node = try TestNode()
    try node.createTopic("t")
    node.environment.hold(.sync(logDirectory: 0))
    let waiting = node.send(produceRequest("t", try batch(["a"])), version: 12)
    #expect(!waiting.isAnswered)
    node.environment.release(.sync(logDirectory: 0))
    try node.stop()
    #expect(try waiting.response()?.responses[0].partitionResponses[0].errorCode == ErrorCode.none)
    #expect(node.events.contains { if case .shutdownEnded = $0 { true } else { false } })
    #expect(try node.produce("t", ["late"], acks: 1).errorCode == .notLeaderOrFollower)
    let next = try TestNode(disk: node.disk, seed: 4)
    #expect(try next.consume("t") == ["a"])
  }

  @Test("A stop at any moment of a start leaves no log unchecked that a kill had left")
  func stoppedWhileLoading() throws {
    for steps in 0..<60 {
      let node = try TestNode()
      try node.createTopic("t", partitions: 3)
      for partition in Int32(0)..<3 { #expect(try node.produce("t", partition: partition, ["a"]).errorCode == .none) }
      node.environment.dropEverything()
      node.disk.killProcess()
      // A start that takes the directory for cleanly closed does not look at this.
      let segment = "/data/t-1/00000000000000000000.log"
      node.disk.corrupt(segment, at: node.disk.contents(of: segment)!.count - 1)
      let environment = VirtualEnvironment(disk: node.disk, seed: 2, wallClock: node.environment.wallClock())
      var config = StaticConfig()
      try config.set("log.dirs", "/data")
      let broker = try Broker.open(environment: environment, staticConfig: config, events: EventList())
      broker.start { _ in }
      for _ in 0..<steps { environment.step() }
      let isDone = Mutex(false)
      broker.shutDown { isDone.withLock { $0 = true } }
      environment.advance(by: .seconds(120))
      #expect(isDone.withLock { $0 }, "stopped after \(steps) steps, it does not end")
      node.disk.killProcess()
      let next = try TestNode(disk: node.disk, seed: 3, at: environment.wallClock())
      #expect(try next.consume("t", partition: 1) == [], "stopped after \(steps) steps")
      #expect(try next.consume("t", partition: 0) == ["a"])
    }
  }

  @Test("Answers keep the order of what was asked, whoever waits")
  func manyPartitions() throws {
    let node = try TestNode()
    for index in 0..<20 { try node.createTopic("topic-\(index)", partitions: 10) }
    let response = try node.ask(MetadataRequest(topics: nil))
    #expect(response.topics.count == 20 && response.topics.allSatisfy { $0.partitions.count == 10 })
    _ = try node.produce("topic-7", partition: 9, ["x"])
    let next = try node.restarted()
    #expect(try next.consume("topic-7", partition: 9) == ["x"])
    #expect(try next.ask(MetadataRequest(topics: nil)).topics.count == 20)
  }
}

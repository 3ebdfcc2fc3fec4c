import Base
import Foundation
import JSON
import KafkaClient
import Testing

@testable import apus

@Suite struct ReassignmentTests {
  private typealias Broker = ReassignmentPlanner.Broker
  private func id(_ partition: Int32, _ topic: String = "t") -> TopicPartition { TopicPartition(topic: topic, partition: partition) }

  private func loads(_ plan: [TopicPartition: [Int32]]) -> [Int32: Int] {
    plan.values.flatMap { $0 }.reduce(into: [:]) { $0[$1, default: 0] += 1 }
  }
  private func leaders(_ plan: [TopicPartition: [Int32]]) -> [Int32: Int] {
    plan.values.compactMap(\.first).reduce(into: [:]) { $0[$1, default: 0] += 1 }
  }
  private func moved(_ current: [TopicPartition: [Int32]], _ plan: [TopicPartition: [Int32]]) -> Int {
    current.reduce(0) { $0 + Set(plan[$1.key]!).subtracting($1.value).count }
  }

  // MARK: Plans

  @Test func whatIsEvenStays() throws {
    let current: [TopicPartition: [Int32]] = [self.id(0): [1, 2], self.id(1): [2, 3], self.id(2): [3, 1]]
    #expect(try ReassignmentPlanner.plan(current, targets: [Broker(1), Broker(2), Broker(3)]) == current)
  }

  @Test func aNewBrokerGetsItsShareAndNoMore() throws {
    var current: [TopicPartition: [Int32]] = [:]
    for number in 0..<12 { current[self.id(Int32(number))] = (0..<3).map { Int32((number + $0) % 3) + 1 } }
    let plan = try ReassignmentPlanner.plan(current, targets: (1...4).map { Broker($0) })
    #expect(self.loads(plan) == [1: 9, 2: 9, 3: 9, 4: 9])
    #expect(self.leaders(plan) == [1: 3, 2: 3, 3: 3, 4: 3])
    #expect(self.moved(current, plan) == 9)
  }

  @Test func aDrainedBrokerKeepsNothing() throws {
    var current: [TopicPartition: [Int32]] = [:]
    for number in 0..<8 { current[self.id(Int32(number))] = [Int32(number % 4) + 1, Int32((number + 1) % 4) + 1] }
    let plan = try ReassignmentPlanner.plan(current, targets: [Broker(1), Broker(2), Broker(3)])
    #expect(plan.values.allSatisfy { !$0.contains(4) && Set($0).count == 2 })
    let loads = self.loads(plan).values
    #expect(loads.max()! - loads.min()! <= 1)
    #expect(self.moved(current, plan) <= 5, "four replicas have to move, and one for the balance")
  }

  @Test func racksAreSpread() throws {
    let brokers = [Broker(1, rack: "a"), Broker(2, rack: "a"), Broker(3, rack: "b"), Broker(4, rack: "b")]
    let current: [TopicPartition: [Int32]] = [self.id(0): [1, 2], self.id(1): [3, 4], self.id(2): [1, 3], self.id(3): [2, 4]]
    let plan = try ReassignmentPlanner.plan(current, targets: brokers)
    let racks: [Int32: String] = [1: "a", 2: "a", 3: "b", 4: "b"]
    #expect(plan.values.allSatisfy { Set($0.map { racks[$0]! }).count == 2 })
    #expect(self.loads(plan) == [1: 2, 2: 2, 3: 2, 4: 2] && self.leaders(plan) == [1: 1, 2: 1, 3: 1, 4: 1])
    #expect(self.moved(current, plan) == 2)
  }

  @Test func smallPartitionsMoveFirst() throws {
    let current: [TopicPartition: [Int32]] = [self.id(0): [1], self.id(1): [1]]
    let plan = try ReassignmentPlanner.plan(current, targets: [Broker(1), Broker(2)], byteCounts: [self.id(0): 1000, self.id(1): 10])
    #expect(plan == [self.id(0): [1], self.id(1): [2]])
  }

  @Test func tooFewBrokersAreNamed() {
    let error = #expect(throws: ReassignmentPlanner.Failure.self) {
      try ReassignmentPlanner.plan([self.id(0): [1, 2, 3]], targets: [Broker(1), Broker(2)])
    }
    #expect(error?.description.contains("t-0 has 3 replicas") == true)
    #expect(throws: ReassignmentPlanner.Failure.self) {
      try ReassignmentPlanner.replacing(3, in: [self.id(0): [1, 2, 3]], targets: [Broker(1), Broker(2)])
    }
  }

  @Test func replacingMovesNothingElse() throws {
    let current: [TopicPartition: [Int32]] = [self.id(0): [1, 2], self.id(1): [2, 3], self.id(2): [3, 1]]
    let plan = try ReassignmentPlanner.replacing(1, in: current, targets: [Broker(2), Broker(3), Broker(4)])
    #expect(plan[self.id(1)] == [2, 3] && plan[self.id(2)] == [3, 4])
    // Who has the records leads, not who has to copy them.
    #expect(plan[self.id(0)] == [2, 4])
  }

  /// Any cluster: the plan is even, keeps every partition whole, and respects racks where it can.
  @Test func anyClusterIsBalanced() throws {
    for seed in 0..<60 {
      var generator = SeededGenerator(seed: UInt64(seed))
      let brokerCount = Int.random(in: 3...7, using: &generator)
      let rackCount = Int.random(in: 1...3, using: &generator)
      let brokers = (1...Int32(brokerCount)).map { Broker($0, rack: rackCount == 1 ? nil : "r\(Int($0) % rackCount)") }
      var current: [TopicPartition: [Int32]] = [:]
      let width = Int.random(in: 1...3, using: &generator)
      for number in 0..<Int.random(in: 1...40, using: &generator) {
        current[self.id(Int32(number))] = Array((1...Int32(brokerCount + 1)).shuffled(using: &generator).prefix(width))
      }
      let plan = try ReassignmentPlanner.plan(current, targets: brokers)
      #expect(plan == (try ReassignmentPlanner.plan(current, targets: brokers)), "seed \(seed)")
      for (id, replicas) in plan {
        #expect(replicas.count == current[id]!.count && Set(replicas).count == replicas.count, "seed \(seed)")
        #expect(replicas.allSatisfy { $0 <= Int32(brokerCount) }, "seed \(seed)")
        if rackCount > 1 {
          #expect(Set(replicas.map { Int($0) % rackCount }).count == min(width, rackCount), "seed \(seed)")
        }
      }
      let leaders = (1...Int32(brokerCount)).map { self.leaders(plan)[$0] ?? 0 }
      let loads = (1...Int32(brokerCount)).map { self.loads(plan)[$0] ?? 0 }
      if rackCount == 1 {
        #expect(loads.max()! - loads.min()! <= 1, "seed \(seed): \(loads)")
        #expect(leaders.max()! - leaders.min()! <= 1, "seed \(seed): \(leaders)")
      }
    }
  }

  // MARK: Files

  private func parse(_ text: String) throws -> ReassignmentFile { try ReassignmentFile(parsing: Array(text.utf8)) }

  @Test func filesAreKafkas() throws {
    let text = #"""
      {"version":1,"partitions":[{"topic":"t","partition":1,"replicas":[2,3],"log_dirs":["any","any"]},
       {"topic":"t","partition":0,"replicas":[1,2]}]}
      """#
    let file = try self.parse(text)
    #expect(file.assignments == [self.id(0): [1, 2], self.id(1): [2, 3]])
    #expect(try self.parse(file.json.text) == file)
    #expect(file.json.text.hasPrefix(#"{"version":1,"partitions":[{"topic":"t","partition":0,"replicas":[1,2],"log_dirs":["any","any"]}"#))
    #expect(try self.parse(#"{"version":1,"partitions":[]}"#).assignments.isEmpty)
  }

  @Test(arguments: [
    ("", "not JSON"), ("[]", "no JSON object"), (#"{"version":2,"partitions":[]}"#, "version is 2"), (#"{"version":1}"#, "no array"),
    (#"{"version":1,"partitions":[{"partition":0,"replicas":[1]}]}"#, "partitions[0] has no topic"),
    (#"{"version":1,"partitions":[{"topic":"t","partition":-1,"replicas":[1]}]}"#, "no partition number"),
    (#"{"version":1,"partitions":[{"topic":"t","partition":0,"replicas":[]}]}"#, "no replicas"),
    (#"{"version":1,"partitions":[{"topic":"t","partition":0,"replicas":[1,1]}]}"#, "broker 1 twice"),
    (#"{"version":1,"partitions":[{"topic":"t","partition":0,"replicas":["1"]}]}"#, "for a broker"),
    (#"{"version":1,"partitions":[{"topic":"t","partition":0,"replicas":[1],"log_dirs":["/d"]}]}"#, "log directory"),
    (#"{"version":1,"partitions":[{"topic":"t","partition":0,"replicas":[1]},{"topic":"t","partition":0,"replicas":[2]}]}"#, "there twice"),
  ])
  func mistakesInFilesAreNamed(text: String, words: String) {
    let error = #expect(throws: ReassignmentFile.Failure.self) { try self.parse(text) }
    #expect(error?.description.contains(words) == true, "\(error?.description ?? "")")
  }

  @Test func filesAreWrittenAndRead() throws {
    let path = FileManager.default.temporaryDirectory.appendingPathComponent("apus-plan-\(UUID().uuidString).json").path
    defer { try? FileManager.default.removeItem(atPath: path) }
    try ReassignmentFile([self.id(0): [1, 2]]).write(path)
    // A shorter one leaves nothing of the longer behind.
    try ReassignmentFile([:]).write(path)
    try ReassignmentFile([self.id(0): [3]]).write(path)
    #expect(try ReassignmentFile.read(path).assignments == [self.id(0): [3]])
    #expect(throws: CommandFailure.self) { try ReassignmentFile.read(path + ".missing") }
    #expect(throws: CommandFailure.self) { try ReassignmentFile([:]).write("/nowhere/plan.json") }
  }

  // MARK: Moves and progress

  @Test func movesAreCounted() {
    let moves = ReassignmentMoves(
      from: [self.id(0): [1, 2], self.id(1): [1, 2], self.id(2): [1, 2]],
      to: [self.id(0): [3, 2], self.id(1): [2, 1], self.id(2): [1, 2]], byteCounts: [self.id(0): 2048])
    #expect(moves.moves.map(\.id) == [self.id(0), self.id(1)])
    #expect(moves.byteCount == 2048 && moves.replicaCount == 1)
    #expect(moves.summary == [
      "broker 1: gives up 1 replica", "broker 3: gets 1 replica, 2.00 KiB",
      "2 partitions change, 1 replica is copied, 2.00 KiB in all; 1 only change their order or drop replicas",
    ])
    #expect(ReplicationThrottle.topicConfigs(moves) == [
      "t": ["leader.replication.throttled.replicas": .set("0:1,0:2"), "follower.replication.throttled.replicas": .set("0:3")]
    ])
  }

  @Test func progressIsOfTheBytes() {
    var survey = ReplicaSurvey()
    survey.leaders = [self.id(0): 1]
    survey.byteCounts = [1: [self.id(0): 1000], 3: [self.id(0): 250], 4: [self.id(0): 2000]]
    let reassignment = Reassignment(replicas: [3, 4, 1, 2], adding: [3, 4], removing: [2])
    let progress = survey.progress([self.id(0): reassignment])
    #expect(progress[0].done == 1250 && progress[0].total == 2000, "who has more than the leader has all")
    #expect(progress[0].json["percent"] == .number(62.5))
    #expect(ReassignmentProgress.lines(progress).last == "1 under way: 1.22 KiB of 1.95 KiB copied, 62.5 %")
    #expect(ReassignmentProgress.lines([]) == ["no reassignment is under way"])
  }

  // MARK: Draining

  @Test func leadersMoveToWhoIsInSyncAndLeadsLeast() {
    let topic = TopicDescription(name: "t", id: nil, isInternal: false, partitions: [
      ClusterStatusTests.partition(0, leader: 1, [1, 2, 3]), ClusterStatusTests.partition(1, leader: 1, [1, 2, 3], inSync: [1, 3]),
      ClusterStatusTests.partition(2, leader: 2, [1, 2, 3]), ClusterStatusTests.partition(3, leader: 1, [1]),
      ClusterStatusTests.partition(4, leader: 1, [1, 2], inSync: [1]), ClusterStatusTests.partition(5, leader: 2, [2, 3]),
    ])
    let drain = LeaderDrain(1, [topic])
    #expect(drain.target == [self.id(0): [3, 2, 1], self.id(1): [3, 2, 1], self.id(2): [2, 3, 1]])
    #expect(drain.elections == [self.id(0), self.id(1)])
    #expect(drain.stuck.map(\.0) == [self.id(3), self.id(4)])
  }

  @Test func targetsAreAlive() throws {
    let cluster = ClusterDescription(id: nil, controllerID: 1, brokers: [
      ClusterStatusTests.broker(1, rack: "a"), ClusterStatusTests.broker(2, isFenced: true), ClusterStatusTests.broker(3, isStopping: true),
      ClusterStatusTests.broker(4, isFenced: nil, isStopping: nil),
    ])
    #expect(try ReassignmentRun.targets(cluster) == [Broker(1, rack: "a"), Broker(4)])
    #expect(try ReassignmentRun.targets(cluster, without: [4]).map(\.id) == [1])
    #expect(throws: CommandFailure.self) { try ReassignmentRun.targets(cluster, only: [1, 2]) }
  }
}

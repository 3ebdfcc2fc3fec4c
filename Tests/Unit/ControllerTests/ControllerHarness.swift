import Base
import Environment
import LogCore
import Metadata
import Model
import NIOCore
import Raft
import Records
import Storage
import Synchronization
import Testing

@testable import Controller

/// What a listener saw and a test's requests were answered, in order, as lines.
final class Journal: MetadataListener {
  private let lines = Mutex<[String]>([])
  private let images = Mutex<[MetadataImage]>([])
  private let allEvents = Mutex<[ControllerEvent]>([])

  var entries: [String] { self.lines.withLock { $0 } }
  var published: [MetadataImage] { self.images.withLock { $0 } }
  var events: [ControllerEvent] { self.allEvents.withLock { $0 } }
  func note(_ line: String) { self.lines.withLock { $0.append(line) } }
  func clear() { self.lines.withLock { $0 = [] } }

  func metadataChanged(_ image: MetadataImage, _ delta: MetadataDelta) {
    self.images.withLock { $0.append(image) }
    let names = delta.createdTopics.compactMap { image.topic($0)?.name }
    self.note("image \(image.offset)" + (names.isEmpty ? "" : " +\(names.joined(separator: ","))"))
  }
  func quorumLeaderChanged(_ leader: QuorumLeader) {}
  func controllerEvent(_ event: ControllerEvent) {
    self.allEvents.withLock { $0.append(event) }
    switch event {
    case .loaded(let count, _): self.note("loaded \(count)")
    case .becameActive(let epoch, _): self.note("active \(epoch)")
    case .steppedDown(let epoch, let unanswered): self.note("stepped down \(epoch), \(unanswered) unanswered")
    case .snapshotTaken(let end, _): self.note("snapshot \(end)")
    case .snapshotFailed(let error): self.note("snapshot failed: \(error)")
    case .snapshotLoaded(let end): self.note("snapshot loaded \(end)")
    case .commitDelayed(let error): self.note("commit delayed: \(error)")
    case .failed(let error): self.note("failed: \(error)")
    case .brokerFenced(let id, _, let cause): self.note("fenced \(id) \(cause.map { "\($0)" } ?? "itself")")
    case .quorumLeaderChanged, .brokerRegistered, .brokerUnfenced, .brokerShutsDown, .brokerUnregistered, .partitionChanged,
      .cleanUpFailed, .uncleanElectionGaveUp: break
    }
  }
}

let testClusterID = "controller-test-cluste"

/// A node that is a quorum by itself, on a memory disk: from an empty directory or after a stop. Its work runs when the test says so.
struct LoneController {
  let environment: ManualEnvironment
  let store: LogDirectory<MemoryDisk>
  let controller: ControllerDriver<ManualEnvironment>
  let report: RecoveryReport?
  let journal = Journal()

  /// - Parameter starting: whether to join the quorum and to do what that brings.
  init(
    _ disk: MemoryDisk = MemoryDisk(), seed: UInt64 = 5, starting: Bool = true, adjust: (inout ControllerSetup) -> Void = { _ in }
  ) throws {
    self.environment = ManualEnvironment(disk: disk, seed: seed)
    self.store = try Self.store(on: disk, seed: seed)
    let staticConfig = StaticConfig()
    var setup = ControllerSetup.single(
      try BrokerConfig(BrokerConfigLayers(staticConfig: staticConfig)), staticConfig: staticConfig,
      directoryID: self.store.metaProperties.directoryID, clusterID: testClusterID)
    adjust(&setup)
    (self.controller, self.report) = try ControllerDriver.open(
      setup, environment: self.environment, store: self.store, seed: seed, listener: self.journal)
    if starting { try self.start() }
  }

  static func store(on disk: MemoryDisk, seed: UInt64 = 1) throws -> LogDirectory<MemoryDisk> {
    var generator = SeededGenerator(seed: seed)
    return try LogDirectory.open(
      disk: disk, path: "/data", nodeID: NodeID(1), clusterID: nil, newClusterID: testClusterID, generator: &generator)
  }

  func start() throws {
    let result = Answer<Result<MetadataImage, ControllerLoadError>>()
    self.controller.start { result.put($0) }
    self.environment.runAll()
    _ = try #require(result.value, "it is not loaded").get()
  }

  func run<Request: ControllerRequest>(_ request: Request, _ label: String) {
    let journal = self.journal
    self.controller.submit(request) { result in
      switch result {
      case .success: journal.note("\(label) ok")
      case .failure(let error): journal.note("\(label) \(error.code)")
      }
    }
  }

  /// Registers and unfences node 1.
  @discardableResult
  func addBroker(incarnation: UInt64 = 1, previousEpoch: BrokerEpoch = .unknown) throws -> BrokerEpoch {
    let answer = Answer<BrokerEpoch?>()
    self.controller.registerOwn(registration(incarnation: incarnation, previousEpoch: previousEpoch)) { answer.put(try? $0.get()) }
    self.environment.runAll()
    let epoch = try #require(answer.value ?? nil)
    self.controller.submit(UnfenceBroker(nodeID: NodeID(1), epoch: epoch)) { _ in }
    self.environment.runAll()
    return epoch
  }

  func stop() throws {
    let answer = Answer<MetadataLogError?>()
    self.controller.close { answer.put($0) }
    self.environment.runAll()
    #expect(try #require(answer.value, "it did not close") == nil)
    try self.store.closeCleanly()
  }

  static let segment = "/data/__cluster_metadata-0/00000000000000000000.log"

  static func batches(on disk: MemoryDisk) throws -> [RecordBatchView] {
    var sequence = BatchSequence(ByteBuffer(bytes: try #require(disk.content(of: Self.segment))))
    var batches: [RecordBatchView] = []
    while let batch = try sequence.next() { batches.append(batch) }
    return batches
  }
}

/// What a completion was called with.
final class Answer<Value: Sendable>: Sendable {
  private let stored = Mutex<[Value]>([])
  func put(_ value: Value) { self.stored.withLock { $0.append(value) } }
  /// Nil: it was not called.
  var value: Value? { self.stored.withLock { $0.last } }
  var count: Int { self.stored.withLock { $0.count } }
}

/// Writes records of any kind as a quorum of one would.
final class RawLog: QuorumListener {
  private let epoch = Mutex<LeaderEpoch?>(nil)
  func quorumEvent(_ event: QuorumEvent) { if case .becameLeader(let epoch) = event { self.epoch.withLock { $0 = epoch } } }

  /// A disk with the metadata log of node 1 that holds a leader change at offset 0 and `records` behind it.
  static func disk(_ records: [ByteBuffer]) throws -> MemoryDisk {
    let disk = MemoryDisk(), listener = RawLog()
    let environment = ManualEnvironment(disk: disk), store = try LoneController.store(on: disk)
    let config = RaftConfig(
      local: ReplicaKey(NodeID(1), store.metaProperties.directoryID), endpoints: [], isController: true, listener: "C",
      clusterID: testClusterID)
    let voter = Voter(key: ReplicaKey(NodeID(1)), endpoints: [], versions: config.versions)
    let driver = try RaftDriver.open(
      config, voters: try #require(VoterSet([voter])), version: .staticVoters, environment: environment, store: store,
      broker: try BrokerConfig(BrokerConfigLayers(staticConfig: StaticConfig())), seed: 1, listener: listener
    ).driver
    driver.start()
    environment.runAll()
    let epoch = try #require(listener.epoch.withLock { $0 })
    driver.perform { for record in records { _ = try? driver.propose([record], in: epoch) } }
    environment.runAll()
    driver.close { _ in }
    environment.runAll()
    return disk
  }
}

func registration(node: Int32 = 1, incarnation: UInt64 = 1, previousEpoch: BrokerEpoch = .unknown, port: UInt16 = 9092) -> RegisterBroker {
  RegisterBroker(
    clusterID: testClusterID, nodeID: NodeID(node), incarnationID: KafkaUUID(high: UInt64(node), low: incarnation),
    endpoints: [Listener(name: "PLAINTEXT", host: node == 1 ? "localhost" : "n\(node)", port: port)],
    logDirectories: [KafkaUUID(high: 9, low: 1000 + UInt64(node))], previousEpoch: previousEpoch)
}

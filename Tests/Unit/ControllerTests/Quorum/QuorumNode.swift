import Base
import Controller
import Environment
import Metadata
import Model
import NIOCore
import Raft
import Storage
import Synchronization
import VirtualWorld
import Wire

/// One life of a controller node in a world: its replica of the metadata log, behind a listener.
final class QuorumNode: QuorumListener {
  static let port: UInt16 = 9093
  static let listenerName = "CONTROLLER"
  static let clusterID = "quorum-under-test"

  struct State: Sendable {
    var leading: LeaderEpoch?
    var leader: NodeID?
    var committed = Offset.zero
    /// What was proposed and is not committed.
    var proposed: [Offset: String] = [:]
    var failure: MetadataLogError?
    var isShutDown = false
  }

  let id: NodeID
  let environment: WorldNode
  /// In the world's time.
  let beganAt: Instant
  let store: LogDirectory<FaultyDisk>
  let state = Mutex(State())
  private let observer: any QuorumObserver
  private let startedDriver = Mutex<RaftDriver<WorldNode>?>(nil)
  var driver: RaftDriver<WorldNode> { self.startedDriver.withLock { $0 }! }

  static func host(_ id: NodeID) -> String { "n\(id)" }
  static func address(_ id: NodeID) -> Address { Address(host: Self.host(id), port: Self.port) }
  static func directoryID(_ id: NodeID) -> KafkaUUID { KafkaUUID(high: 0xD, low: UInt64(id.rawValue)) }

  static func voters(_ ids: [NodeID], withDirectories: Bool = false) -> VoterSet {
    VoterSet(
      ids.map { id in
        Voter(
          key: ReplicaKey(id, withDirectories ? Self.directoryID(id) : .zero),
          endpoints: [Endpoint(listener: Self.listenerName, address: Self.address(id))],
          versions: SupportedVersions(.staticVoters, .dynamicVoters))
      })!
  }

  init(
    _ id: NodeID, in environment: WorldNode, voters: VoterSet, version: KRaftVersion = .staticVoters, observer: any QuorumObserver,
    adjust: (inout RaftConfig) -> Void = { _ in }
  ) throws {
    self.id = id
    self.environment = environment
    self.observer = observer
    self.beganAt = environment.worldTime
    var generator = SeededGenerator(seed: environment.entropy())
    self.store = try LogDirectory.open(
      disk: environment.disk, path: "data", nodeID: id, clusterID: nil, newClusterID: Self.clusterID, generator: &generator)
    var config = RaftConfig(
      local: ReplicaKey(id, Self.directoryID(id)), endpoints: [Endpoint(listener: Self.listenerName, address: Self.address(id))],
      isController: true, listener: Self.listenerName, clusterID: Self.clusterID)
    config.electionTimeout = .milliseconds(200)
    config.electionBackoffMax = .milliseconds(200)
    config.fetchTimeout = .milliseconds(500)
    config.requestTimeout = .milliseconds(500)
    config.fetchWaitMax = .milliseconds(100)
    adjust(&config)
    let (driver, _) = try RaftDriver<WorldNode>.open(
      config, voters: voters, version: version, environment: environment, store: self.store,
      broker: try BrokerConfig(BrokerConfigLayers(staticConfig: StaticConfig())),
      seed: environment.entropy(), listener: self)
    self.startedDriver.withLock { $0 = driver }
    self.listen()
    driver.start()
  }

  var isLeading: Bool { self.state.withLock { $0.leading != nil } }

  // MARK: - Events

  func quorumEvent(_ event: QuorumEvent) {
    switch event {
    case .committed(let offset): self.commit(upTo: offset)
    case .becameLeader(let epoch):
      self.state.withLock { $0.leading = epoch }
      self.observer.led(by: self.id, in: epoch)
    case .steppedDown:
      self.state.withLock { state in
        state.leading = nil
        state.proposed = [:]
      }
    case .caughtUp, .delayed: break
    case .leaderChanged(_, let leader): self.state.withLock { $0.leader = leader }
    case .failed(let error): self.state.withLock { $0.failure = error }
    case .cleanUpFailed(let error): self.observer.failed("node \(self.id) cannot clean up: \(error)")
    case .shutDownCompleted: self.state.withLock { $0.isShutDown = true }
    case .loadSnapshot(let end, _): self.state.withLock { $0.committed = max($0.committed, end) }
    case .trace(let trace): self.observer.traced(trace, by: self.id)
    }
  }

  private func commit(upTo end: Offset) {
    let from = self.state.withLock { state in
      defer { state.committed = max(state.committed, end) }
      return state.committed
    }
    guard from < end else { return }
    do {
      try self.driver.read(from: max(from, self.driver.logStartOffset), upTo: end) { offset, value in
        let text = String(buffer: value)
        self.observer.committed(text, at: offset, by: self.id)
        let own = self.state.withLock { $0.proposed.removeValue(forKey: offset) }
        if own == text { self.observer.acknowledged(text, at: offset) }
      }
    } catch {
      self.observer.failed("node \(self.id) cannot read what is committed: \(error)")
    }
  }

  /// Appends a value, if this node leads.
  func propose(_ text: String) {
    self.driver.perform {
      guard let epoch = self.state.withLock({ $0.leading }) else { return }
      guard let offset = try? self.driver.propose([ByteBuffer(string: text)], in: epoch) else { return }
      self.state.withLock { $0.proposed[offset] = text }
    }
  }

  // MARK: - The listener

  /// Answers leave in the order of their requests, as from a real server.
  final class Answers: Sendable {
    private struct State: Sendable {
      var frames: [ByteBuffer?] = []
      var first = 0
    }
    private let state = Mutex(State())
    private let link: WorldLink
    init(_ link: WorldLink) { self.link = link }

    func reserve() -> Int {
      self.state.withLock { state in
        state.frames.append(nil)
        return state.first + state.frames.count - 1
      }
    }
    func put(_ frame: ByteBuffer, at slot: Int) {
      let ready = self.state.withLock { state in
        state.frames[slot - state.first] = frame
        let ready = state.frames.prefix { $0 != nil }.compactMap { $0 }
        state.frames.removeFirst(ready.count)
        state.first += ready.count
        return ready
      }
      for frame in ready { self.link.send(frame) }
    }
  }

  private func listen() {
    self.environment.network.listen(Self.port) { link in
      let answers = Answers(link)
      return { event in if case .received(let body) = event { self.serve(body, answers, link) } }
    }
  }

  private func serve(_ body: ByteBuffer, _ answers: Answers, _ link: WorldLink) {
    do {
      var reader = WireReader(body)
      let header = try RequestHeader(from: &reader)
      let slot = answers.reserve()
      let (version, id) = (header.apiVersion, header.correlationId)
      let put: @Sendable (any WireMessage) -> Void = { message in
        answers.put(Self.frame(message, version, id), at: slot)
      }
      let driver = self.driver
      switch ApiKey(rawValue: header.apiKey)! {
      case .apiVersions: put(Self.versions)
      case .vote:
        let request = try Wire.VoteRequest(from: &reader, version: version)
        if let candidacy = request.topics.first?.partitions.first, !candidacy.preVote {
          self.observer.stood(NodeID(candidacy.replicaId), in: candidacy.replicaEpoch)
        }
        driver.serve(request) { put($0) }
      case .fetch:
        let request = try Wire.FetchRequest(from: &reader, version: version)
        if let partition = request.topics.first?.partitions.first {
          let node = version >= 15 ? request.replicaState.replicaId : request.replicaId
          if node >= 0 { self.observer.fetched(NodeID(node), from: Offset(partition.fetchOffset)) }
        }
        driver.serve(request, version: version) { put($0) }
      case let key:
        if !(try Self.serve(key, &reader, version, by: driver, put)) { self.observer.failed("node \(self.id) was sent \(key)") }
      }
    } catch {
      self.observer.failed("node \(self.id) was sent what it cannot read: \(error)")
    }
  }

  /// Whether the request is one of the quorum's.
  static func serve(
    _ key: ApiKey, _ reader: inout WireReader, _ version: Int16, by driver: RaftDriver<WorldNode>,
    _ put: @escaping @Sendable (any WireMessage) -> Void
  ) throws -> Bool {
    switch key {
    case .vote: driver.serve(try Wire.VoteRequest(from: &reader, version: version)) { put($0) }
    case .fetch: driver.serve(try Wire.FetchRequest(from: &reader, version: version), version: version) { put($0) }
    case .beginQuorumEpoch: driver.serve(try BeginQuorumEpochRequest(from: &reader, version: version)) { put($0) }
    case .endQuorumEpoch: driver.serve(try EndQuorumEpochRequest(from: &reader, version: version)) { put($0) }
    case .fetchSnapshot: driver.serve(try Wire.FetchSnapshotRequest(from: &reader, version: version)) { put($0) }
    case .addRaftVoter: driver.serve(try AddRaftVoterRequest(from: &reader, version: version)) { put($0) }
    case .updateRaftVoter: driver.serve(try UpdateRaftVoterRequest(from: &reader, version: version)) { put($0) }
    default: return false
    }
    return true
  }

  static func frame(_ message: some WireMessage, _ version: Int16, _ id: Int32) -> ByteBuffer {
    Frame.response(message, version: version, correlationId: id).buffer
  }

  static let versions: ApiVersionsResponse = {
    let keys: [(ApiKey, ClosedRange<Int16>)] = [
      (.apiVersions, ApiVersionsRequest.supportedVersions), (.vote, Wire.VoteRequest.supportedVersions),
      (.beginQuorumEpoch, BeginQuorumEpochRequest.supportedVersions), (.endQuorumEpoch, EndQuorumEpochRequest.supportedVersions),
      (.fetch, Wire.FetchRequest.supportedVersions), (.fetchSnapshot, Wire.FetchSnapshotRequest.supportedVersions),
      (.addRaftVoter, AddRaftVoterRequest.supportedVersions), (.updateRaftVoter, UpdateRaftVoterRequest.supportedVersions),
    ]
    return ApiVersionsResponse(
      apiKeys: keys.map { .init(apiKey: $0.rawValue, minVersion: $1.lowerBound, maxVersion: $1.upperBound) },
      supportedFeatures: [.init(name: "kraft.version", minVersion: 0, maxVersion: 1)])
  }()
}

/// Sees what the nodes of a quorum do, from outside.
protocol QuorumObserver: AnyObject, Sendable {
  /// A candidacy of the node arrived somewhere.
  func stood(_ node: NodeID, in epoch: Int32)
  /// A fetch of the node arrived, by which it says that everything below is on its disk.
  func fetched(_ node: NodeID, from offset: Offset)
  func led(by node: NodeID, in epoch: LeaderEpoch)
  func committed(_ value: String, at offset: Offset, by node: NodeID)
  func acknowledged(_ value: String, at offset: Offset)
  func traced(_ trace: RaftTrace, by node: NodeID)
  func failed(_ reason: String)
}

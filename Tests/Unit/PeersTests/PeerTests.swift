import Base
import Environment
import Model
import NIOCore
import Peers
import Synchronization
import Testing
import VirtualWorld
import Wire

/// Requests to another node, over the wires of a world.
@Suite struct PeerTests {
  typealias Answer = Result<HeartbeatLike, PeerError>
  /// What the tests ask for: any request of the schemas will do.
  typealias Request = DescribeClusterRequest
  typealias HeartbeatLike = DescribeClusterResponse

  /// A node that answers as it is told.
  final class Server: Sendable {
    struct Plan: Sendable {
      /// Of ApiVersions; nil says nothing at all.
      var versions: ClosedRange<Int16>? = 0...1
      /// Answers in the old form and with an error first, as a node that does not know the newest ApiVersions.
      var knowsApiVersions: ClosedRange<Int16> = 0...4
      var isSilent = false
      var answersGarbage = false
      var answersAnother = false
    }
    let plan: Mutex<Plan>
    let requests = Mutex<[String]>([])
    let connectionCount = Atomic(0)

    init(_ node: WorldNode, _ plan: Plan = Plan()) {
      self.plan = Mutex(plan)
      node.network.listen(9092) { [self] link in
        self.connectionCount.add(1, ordering: .relaxed)
        return { event in if case .received(let body) = event { self.answer(body, link) } }
      }
    }

    private func answer(_ body: ByteBuffer, _ link: WorldLink) {
      var reader = WireReader(body)
      guard let header = try? RequestHeader(from: &reader) else { return }
      let plan = self.plan.withLock { $0 }
      self.requests.withLock { $0.append("\(header.apiKey) v\(header.apiVersion) from \(header.clientId ?? "nobody")") }
      if header.apiKey == ApiKey.apiVersions.rawValue {
        guard let versions = plan.versions else { return }
        var response = ApiVersionsResponse(apiKeys: [
          .init(apiKey: 18, minVersion: plan.knowsApiVersions.lowerBound, maxVersion: plan.knowsApiVersions.upperBound),
          .init(apiKey: Request.apiKey.rawValue, minVersion: versions.lowerBound, maxVersion: versions.upperBound),
        ])
        let isKnown = plan.knowsApiVersions.contains(header.apiVersion)
        if !isKnown { response.errorCode = .unsupportedVersion }
        return link.send(
          Frame.response(response, version: isKnown ? header.apiVersion : 0, correlationId: header.correlationId).buffer)
      }
      if plan.isSilent { return }
      if plan.answersGarbage { return link.send(ByteBuffer(bytes: [0, 0, 0, 3, 1, 2, 3])) }
      let response = DescribeClusterResponse(clusterId: "c", controllerId: header.correlationId)
      let id = plan.answersAnother ? header.correlationId + 1 : header.correlationId
      link.send(Frame.response(response, version: header.apiVersion, correlationId: id).buffer)
    }
  }

  final class Rig: Sendable {
    let world = World(seed: 1)
    let a: WorldNode
    let b: WorldNode
    let peer: Peer<WorldNode>
    let answers = Mutex<[Answer]>([])
    let losses = Mutex<[LinkFailure]>([])

    init() {
      self.a = WorldNode(self.world.addMachine(), host: "a", disk: FaultyDisk(seed: 1), in: self.world)
      self.b = WorldNode(self.world.addMachine(), host: "b", disk: FaultyDisk(seed: 2), in: self.world)
      let losses = Losses()
      self.peer = Peer(NodeAddress(host: "b", port: 9092), for: .control, clientID: "node-1", environment: self.a) { losses.add($0) }
      losses.rig.withLock { $0 = self }
    }
    final class Losses: Sendable {
      let rig = Mutex<Rig?>(nil)
      func add(_ failure: LinkFailure) { self.rig.withLock { $0 }?.losses.withLock { $0.append(failure) } }
    }

    func ask(timeout: Duration = .seconds(1)) {
      self.peer.call(Request(), timeout: timeout) { answer in self.answers.withLock { $0.append(answer) } }
    }
    /// The outcome of each request, in the order of completion.
    var outcomes: [String] {
      self.answers.withLock { answers in
        answers.map { answer in
          switch answer {
          case .success(let response): "cluster \(response.clusterId)"
          case .failure(let error): "\(error)"
          }
        }
      }
    }
    var lost: [LinkFailure] { self.losses.withLock { $0 } }
  }

  @Test func theFirstRequestConnectsAndTheOthersShareTheConnection() {
    let rig = Rig()
    let server = Server(rig.b)
    for _ in 0..<3 { rig.ask() }
    rig.world.run(for: .milliseconds(50))
    rig.ask()
    rig.world.run(for: .milliseconds(50))
    #expect(rig.outcomes == Array(repeating: "cluster c", count: 4))
    #expect(server.connectionCount.load(ordering: .relaxed) == 1)
    #expect(server.requests.withLock { $0 } == ["18 v4 from node-1"] + Array(repeating: "60 v1 from node-1", count: 4))
    #expect(rig.peer.isConnected)
    #expect(rig.lost.isEmpty)
  }

  @Test func anOlderNodeIsAskedInAVersionThatItKnows() {
    let rig = Rig()
    let server = Server(rig.b, .init(versions: 0...0, knowsApiVersions: 0...2))
    rig.ask()
    rig.world.run(for: .milliseconds(50))
    #expect(rig.outcomes == ["cluster c"])
    #expect(server.requests.withLock { $0 } == ["18 v4 from node-1", "18 v2 from node-1", "60 v0 from node-1"])
  }

  @Test func aRequestWithoutACommonVersionIsRefusedHere() {
    let rig = Rig()
    let server = Server(rig.b, .init(versions: 30...31))
    rig.ask()
    rig.world.run(for: .milliseconds(50))
    #expect(rig.outcomes == ["no common version of describeCluster"])
    #expect(server.requests.withLock { $0.count } == 1)
    #expect(rig.peer.isConnected)
  }

  @Test func whoeverWaitsHearsOfADeathAtOnce() {
    let rig = Rig()
    let server = Server(rig.b, .init(isSilent: true))
    rig.ask(timeout: .seconds(30))
    rig.ask(timeout: .seconds(30))
    rig.world.run(for: .milliseconds(50))
    rig.world.kill(rig.b.machine)
    rig.world.run(for: .milliseconds(10))
    #expect(rig.outcomes == Array(repeating: "the other side closed the connection", count: 2))
    #expect(rig.lost == [.closedByPeer])
    rig.ask()
    rig.world.run(for: .milliseconds(10))
    #expect(rig.outcomes.last == "connection refused: nothing listens there")
    #expect(rig.lost == [.closedByPeer, .refused])
    _ = server
  }

  @Test func aNodeThatComesBackIsConnectedAnew() {
    let rig = Rig()
    let first = Server(rig.b)
    rig.ask()
    rig.world.run(for: .milliseconds(50))
    rig.world.kill(rig.b.machine)
    rig.world.run(for: .milliseconds(50))
    let second = Server(WorldNode(rig.b.machine, host: "b", disk: rig.b.disk, in: rig.world))
    rig.ask()
    rig.world.run(for: .milliseconds(50))
    #expect(rig.outcomes == ["cluster c", "cluster c"])
    #expect(second.connectionCount.load(ordering: .relaxed) == 1)
    _ = first
  }

  @Test func silenceEndsAfterTheFirstPatience() {
    let rig = Rig()
    let server = Server(rig.b, .init(isSilent: true))
    rig.ask(timeout: .milliseconds(300))
    rig.ask(timeout: .seconds(5))
    rig.world.run(for: .milliseconds(290))
    #expect(rig.outcomes.isEmpty)
    rig.world.run(for: .milliseconds(20))
    // An answer that came now would be taken for one to the second request, so both are given up.
    #expect(rig.outcomes == ["no answer in time", "no answer in time"])
    #expect(rig.lost == [.unreachable(reason: "no answer in time")])
    server.plan.withLock { $0.isSilent = false }
    rig.ask()
    rig.world.run(for: .milliseconds(50))
    #expect(rig.outcomes.last == "cluster c")
  }

  @Test func aNodeThatNeverSaysItsVersionsTimesOut() {
    let rig = Rig()
    let server = Server(rig.b, .init(versions: nil))
    rig.ask(timeout: .milliseconds(300))
    rig.world.run(for: .milliseconds(310))
    #expect(rig.outcomes == ["no answer in time"])
    _ = server
  }

  @Test(arguments: [Server.Plan(answersGarbage: true), Server.Plan(answersAnother: true)])
  func nonsenseEndsTheConnection(_ plan: Server.Plan) {
    let rig = Rig()
    let server = Server(rig.b, plan)
    rig.ask()
    rig.world.run(for: .milliseconds(50))
    #expect(rig.outcomes.count == 1)
    #expect(rig.outcomes[0].hasPrefix("not a Kafka node's answer"), "\(rig.outcomes)")
    #expect(!rig.peer.isConnected)
    server.plan.withLock { $0 = Server.Plan() }
    rig.ask()
    rig.world.run(for: .milliseconds(50))
    #expect(rig.outcomes.last == "cluster c")
  }

  @Test func aClosedPeerAnswersNothingMore() {
    let rig = Rig()
    let server = Server(rig.b, .init(isSilent: true))
    rig.ask()
    rig.world.run(for: .milliseconds(50))
    rig.peer.close()
    rig.ask()
    rig.world.run(for: .milliseconds(50))
    #expect(rig.outcomes == ["closed here", "closed here"])
    #expect(rig.lost.isEmpty)
    _ = server
  }
}

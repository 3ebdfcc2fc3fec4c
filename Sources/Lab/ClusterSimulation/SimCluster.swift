import Base
import Environment
import Model
import VirtualWorld

/// A cluster with everybody who works on it, in one world.
final class SimCluster: Sendable {
  let seed: UInt64
  let plan: SimulationPlan
  let world: World
  let board: Board
  let ledger: Ledger
  let nodes: [SimNode]
  let admin: SimAdmin
  let producers: [SimProducer]
  let consumers: [SimConsumer]
  let quorumCheck: QuorumCheck
  let metadataCheck: MetadataCheck
  /// The machines of the clients.
  let clientMachines: [Int]
  private let clientEnvironments: [WorldNode]
  private let bootstrap: [NodeAddress]

  init(seed: UInt64, options: SimulationOptions) {
    self.seed = seed
    let plan = SimulationPlan(seed: seed, options: options)
    let world = World(seed: seed ^ 0x5EED)
    let board = Board(world: world, traceCapacity: options.traceCapacity)
    let ledger = Ledger(board: board, unclean: Set(plan.topics.filter(\.isUnclean).map(\.name)))
    world.net.setLatency(plan.frameLatency)
    let ids = (1...options.nodeCount).map { NodeID(Int32($0)) }
    let quorumCheck = QuorumCheck(board: board)
    self.nodes = ids.map { id in
      let settings = NodeSettings(id: id, all: ids, plan: plan, mutant: options.mutantName)
      return SimNode(settings, seed: seed, world: world, board: board, ledger: ledger, quorumCheck)
    }
    self.quorumCheck = quorumCheck
    self.metadataCheck = MetadataCheck(self.nodes, board: board)
    // Some clients may be cut off from a node while others are not.
    self.clientEnvironments = (0..<2).map { number in
      WorldNode(world.addMachine(), host: "client-\(number)", disk: FaultyDisk(seed: seed), in: world)
    }
    self.clientMachines = self.clientEnvironments.map(\.machine)
    let bootstrap = ids.map { NodeAddress(host: NodeSettings.host($0), port: NodeSettings.clientPort) }
    self.bootstrap = bootstrap
    let environments = self.clientEnvironments
    let topics = plan.topics.map(\.name)
    func client(_ name: String, _ number: Int) -> SimClient {
      SimClient(
        name, environments[number % environments.count], bootstrap: bootstrap, topics: topics, seed: seed &* 31 &+ UInt64(number),
        board: board)
    }
    self.admin = SimAdmin(client("admin", 0), plan.topics)
    self.producers = plan.producers.enumerated().map { index, producer in
      SimProducer(producer, client("producer-\(producer.number)", index + 1), ledger, seed: seed &* 17 &+ UInt64(index))
    }
    let partitions = plan.topics.flatMap(\.partitions)
    self.consumers = (0..<plan.consumerCount).map { SimConsumer(client("consumer-\($0)", 10 + $0), partitions, ledger) }
    (self.plan, self.world, self.board, self.ledger) = (plan, world, board, ledger)
  }

  func node(_ id: NodeID) -> SimNode? { self.nodes.first { $0.id == id } }

  /// Lets go of everything, also of what refers to itself in circles.
  func end() {
    for node in self.nodes { node.kill() }
    self.world.end()
    for node in self.nodes { node.disk.erase() }
  }

  /// A consumer that reads everything once more and keeps it.
  func auditor() -> SimConsumer {
    let client = SimClient(
      "auditor", self.clientEnvironments[0], bootstrap: self.bootstrap, topics: self.plan.topics.map(\.name), seed: self.seed,
      board: self.board)
    return SimConsumer(client, self.plan.topics.flatMap(\.partitions), self.ledger, keepsRecords: true)
  }
}

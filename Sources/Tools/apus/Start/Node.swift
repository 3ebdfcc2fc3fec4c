import Base
import Broker
import Logging
import Metadata
import Model
import NIOCore
import NIONetwork
import NIOServer
import Replication
import Storage

/// One node: its listeners, its broker, and the threads of both.
struct Node {
  typealias NodeBroker = Broker<ServerEnvironment>

  private let server: KafkaServer
  private let broker: NodeBroker
  private let lanes: WorkLanes
  /// The addresses that are bound, in the order of `listeners`, those of the controller last.
  let bound: [ListenerAddress]

  /// What a node is told of its cluster besides its configuration.
  struct Identity {
    /// Nil: what the data directory says.
    var clusterID: String?
    /// `--standalone`
    var isFirst = false
  }

  var clusterID: String { self.broker.clusterID }

  /// Takes the ports and the data directory, and begins to take part in its cluster: `status` tells what comes of it.
  init(
    _ config: NodeConfig, identity: Identity, log: Logger, logLevels: any LogLevels, status: NodeStatus
  ) throws(StartError) {
    let events = BrokerEventLog(log: log, status: status)
    let server = KafkaServer(
      loopCount: config.broker.networkThreads ?? System.coreCount, limits: ServerLimits(config.broker)
    ) { events.record($0) }
    let lanes = WorkLanes()
    do throws(StartError) {
      (self.bound, self.broker) = try Self.open(config, identity, server, lanes, events, log, logLevels)
    } catch {
      lanes.stop()
      server.stop(grace: .zero)
      throw error
    }
    self.server = server
    self.lanes = lanes
    let broker = self.broker
    broker.start { result in
      switch result {
      case .success: status.noteReady()
      case .failure(let error): status.noteFailure(StartError(error))
      }
    }
    // Other nodes are answered before this one is ready: without that there is no quorum, and nobody could tell that it lives.
    server.serve { BrokerFront(broker, $0) }
  }

  private static func open(
    _ config: NodeConfig, _ identity: Identity, _ server: KafkaServer, _ lanes: WorkLanes, _ events: BrokerEventLog, _ log: Logger,
    _ logLevels: any LogLevels
  ) throws(StartError) -> ([ListenerAddress], NodeBroker) {
    // The ports first: a second broker started by mistake should not touch a directory.
    var bound: [ListenerAddress] = []
    let cluster = config.broker.cluster
    let all = config.broker.listeners.map { ($0, ListenerRole.broker) } + cluster.controllerListeners.map { ($0, ListenerRole.controller) }
    for (listener, role) in all {
      let address = ListenerAddress(name: listener.name, host: listener.host, port: Int(listener.port), role: role)
      do throws(BindError) {
        bound.append(try server.bind(address, backlog: max(config.broker.listenBacklog, Self.backlogMin)))
      } catch {
        throw StartError(.address, "\(error); choose another address with --listen, or stop what has this one")
      }
    }
    let endpoints = AdvertisedListeners(config.broker, bound: bound, hostName: { Process.resolvableHostName })
    for warning in endpoints.warnings { log.warning("\(warning)") }
    let network = NIONetwork(
      controlGroup: server.controlGroup, dataGroup: server.dataGroup, frameByteCountMax: config.broker.requestBytesMax)
    let broker: NodeBroker
    do throws(BrokerStartError) {
      broker = try NodeBroker.open(
        environment: ServerEnvironment(network: network, lanes: lanes, loop: server.controlLoop), staticConfig: config.settings,
        endpoints: endpoints.listeners, controllerEndpoints: endpoints.controllers, clusterID: identity.clusterID,
        isFirst: identity.isFirst, events: events, logLevels: logLevels)
    } catch {
      throw StartError(error)
    }
    return (bound, broker)
  }

  /// Kafka's default of 50 is less than a herd of clients that come back after a restart.
  private static let backlogMin = 4096

  /// Leaves the cluster, answers what is being served, closes the logs and ends every thread. Blocks.
  func stop() {
    let isShutDown = self.server.controlLoop.makePromise(of: Void.self)
    // Clients are served, and other nodes answered, until others lead.
    self.broker.shutDown { isShutDown.succeed() }
    try? isShutDown.futureResult.wait()
    self.server.stopAccepting()
    self.server.closeConnections(grace: .seconds(2))
    self.lanes.stop()
    self.server.stop(grace: .zero)
  }
}

extension Node {
  /// Gives the ports back after a start that came to nothing. Blocks.
  func abandon() {
    self.server.stopAccepting()
    self.server.closeConnections(grace: .zero)
  }
}

extension StartError {
  init(_ error: BrokerStartError) {
    let cause: Cause =
      switch error {
      case .config, .identity, .storage(.wrongNode(path: _, found: _, expected: _)),
        .storage(.wrongCluster(path: _, found: _, expected: _)):
        .configuration
      case .storage, .controller, .membership(.directoriesFailed): .storage
      case .membership(.registrationRefused(.inconsistentClusterId)): .configuration
      case .membership: .other
      }
    self.init(cause, error.description)
  }
}

extension ServerLimits {
  init(_ config: BrokerConfig) {
    self.init()
    self.frameByteCountMax = config.requestBytesMax
    self.idleMax = config.connectionsIdleMax ?? .nanoseconds(Int64.max)
    self.connectionsMax = config.connectionsMax
    self.connectionsPerAddressMax = config.connectionsPerAddressMax
    self.connectionsPerAddressOverrides = config.connectionsPerAddressOverrides
    self.receiveBufferByteCount = config.receiveBufferBytes
    self.sendBufferByteCount = config.sendBufferBytes
  }
}

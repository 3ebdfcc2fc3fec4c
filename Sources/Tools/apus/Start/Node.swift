import Base
import Broker
import Logging
import Metadata
import NIOCore
import NIONetwork
import NIOServer
import Storage

/// One node: its listeners, its broker, and the threads of both.
struct Node {
  typealias NodeBroker = Broker<ServerEnvironment>

  private let server: KafkaServer
  private let broker: NodeBroker
  private let lanes: WorkLanes
  /// The addresses that are bound, in the order of `listeners`.
  let bound: [ListenerAddress]

  var clusterID: String { self.broker.clusterID }

  /// Takes the ports and the data directory, loads what is there and begins to serve. Blocks until clients are accepted.
  init(_ config: NodeConfig, log: Logger, logLevels: any LogLevels) throws(StartError) {
    let events = BrokerEventLog(log: log)
    let server = KafkaServer(
      loopCount: config.broker.networkThreads ?? System.coreCount, limits: ServerLimits(config.broker)
    ) { events.record($0) }
    let lanes = WorkLanes()
    do throws(StartError) {
      (self.bound, self.broker) = try Self.open(config, server, lanes, events, log, logLevels)
    } catch {
      lanes.stop()
      server.stop(grace: .zero)
      throw error
    }
    self.server = server
    self.lanes = lanes
    let broker = self.broker
    server.serve { BrokerFront(broker, $0) }
  }

  private static func open(
    _ config: NodeConfig, _ server: KafkaServer, _ lanes: WorkLanes, _ events: BrokerEventLog, _ log: Logger,
    _ logLevels: any LogLevels
  ) throws(StartError) -> ([ListenerAddress], NodeBroker) {
    // The ports first: a second broker started by mistake should not touch a directory.
    var bound: [ListenerAddress] = []
    for listener in config.broker.listeners {
      let address = ListenerAddress(name: listener.name, host: listener.host, port: Int(listener.port))
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
        endpoints: endpoints.listeners, events: events, logLevels: logLevels)
    } catch {
      throw StartError(error)
    }
    let started = server.controlLoop.makePromise(of: Void.self)
    broker.start { result in started.completeWith(result.mapError { $0 as any Error }) }
    do { try started.futureResult.wait() } catch {
      throw (error as? BrokerStartError).map { StartError($0) } ?? StartError(.other, "\(error)")
    }
    return (bound, broker)
  }

  /// Kafka's default of 50 is less than a herd of clients that come back after a restart.
  private static let backlogMin = 4096

  /// Answers what is being served, closes the logs and ends every thread. Blocks.
  func stop() {
    self.server.stopAccepting()
    let isShutDown = self.server.controlLoop.makePromise(of: Void.self)
    self.broker.shutDown { isShutDown.succeed() }
    try? isShutDown.futureResult.wait()
    self.server.closeConnections(grace: .seconds(2))
    self.lanes.stop()
    self.server.stop(grace: .zero)
  }
}

extension StartError {
  init(_ error: BrokerStartError) {
    let cause: Cause =
      switch error {
      case .config, .storage(.wrongNode(path: _, found: _, expected: _)), .storage(.wrongCluster(path: _, found: _, expected: _)):
        .configuration
      case .storage, .controller: .storage
      case .registration: .other
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

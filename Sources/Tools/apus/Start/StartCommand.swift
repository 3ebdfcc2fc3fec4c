import ArgumentParser
import Broker
import Logging
import Metadata
import NIOServer
import Observability
import PosixDisk

/// `apus start`: one node, until a signal stops it.
struct StartCommand: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "start",
    abstract: "Start a node.",
    discussion: """
      Without arguments: a single node on 127.0.0.1:9092 that keeps its data in ./apus-data.

      When it accepts clients it prints one line to standard output:
        apus ready node=<id> listen=<host:port> cluster=<id>
      The log goes to standard error; APUS_LOG_LEVEL (trace, debug, info, notice, warning, error, critical) sets how much of it. \
      Kafka's tools change it while the node runs: logger root of entity type broker-loggers.

      A setting may come from the file, from the environment (log.retention.ms is APUS_LOG_RETENTION_MS) and from --set; the later \
      of these wins, and --data and --listen over all of them. Names, units and defaults are Apache Kafka's.

      Several nodes are one cluster if they name the same controllers: controller.quorum.voters=1@host:port,2@host:port,... on each, and \
      a listener of the controller on each of those (listeners, controller.listener.names). The cluster's id then follows from the \
      voters. Where the controllers may change, controller.quorum.bootstrap.servers names some of them instead; the first node is \
      started with --standalone, the others with its --cluster-id.

      SIGTERM or SIGINT stops the node cleanly: others lead before it goes. A SIGINT that comes more than a second later ends it \
      where it is, and the next start checks the logs.

      Exit codes: 0 stopped cleanly; 64 the command line was wrong; 69 a listener could not be opened; 70 the node could not start; \
      74 the data directory cannot be used; 78 the configuration is wrong; 130 ended by a second signal.
      """)

  @Option(name: .long, help: ArgumentHelp("Kafka's server.properties.", valueName: "file"))
  var config: String?
  @Option(name: .long, help: ArgumentHelp("The data directory (log.dirs).", valueName: "dir"))
  var data: String?
  @Option(name: .long, help: ArgumentHelp("The address to listen on (listeners); port 0 picks a free one.", valueName: "host:port"))
  var listen: String?
  @Option(name: .customLong("set"), help: ArgumentHelp("Override one configuration key; may be repeated.", valueName: "key=value"))
  var overrides: [String] = []

  @Option(
    name: .customLong("cluster-id"),
    help: ArgumentHelp("The cluster this node belongs to; a new data directory gets it.", valueName: "id"))
  var clusterID: String?
  @Flag(name: .long, help: "Begin a new cluster whose only controller, so far, is this node, if the data directory is new.")
  var standalone = false

  func run() throws {
    let signals = StopSignals.install()
    do throws(StartError) {
      try self.serve(until: signals)
    } catch {
      for line in error.message.split(separator: "\n") { Process.write("apus start: \(line)\n", to: 2) }
      throw ExitCode(error.cause.rawValue)
    }
  }

  private func serve(until signals: StopSignals) throws(StartError) {
    let variables = Process.environment
    let threshold = LogThreshold(try Self.logLevel(variables))
    let log = Logger(label: "apus") { _ in StderrLog(threshold: threshold) }
    let config = try NodeConfig(
      file: self.config, overrides: self.overrides, data: self.data, listen: self.listen, environment: variables, disk: PosixDisk())
    for note in config.settings.notes { log.warning("\(note)") }
    let descriptorsMax = Process.raiseDescriptorLimit()
    if descriptorsMax < 10_000 {
      log.warning("few open files are allowed: raise the hard limit of ulimit -n", metadata: ["max": "\(descriptorsMax)"])
    }
    let status = NodeStatus()
    let node = try Node(
      config, identity: .init(clusterID: self.clusterID, isFirst: self.standalone), log: log,
      logLevels: ProcessLogLevels(threshold: threshold), status: status)
    while true {
      let name = signals.wait()
      if let failure = status.failure {
        // What the disk has is what the next start goes on from; there is nothing to close in good order.
        if !status.hasStarted { node.abandon() }
        throw failure
      }
      if let name {
        log.info("stopping", metadata: ["signal": "\(name)"])
        return node.stop()
      }
      guard status.isNewlyReady() else { continue }
      // A controller alone has nothing for clients.
      let forClients = node.bound.filter { $0.role == .broker }
      let addresses = (forClients.isEmpty ? node.bound : forClients).map(\.hostAndPort).joined(separator: ",")
      Process.write("apus ready node=\(config.broker.nodeID) listen=\(addresses) cluster=\(node.clusterID)\n", to: 1)
    }
  }

  private static func logLevel(_ variables: [(name: String, value: String)]) throws(StartError) -> Logger.Level {
    let text = variables.first { $0.name == NodeConfig.logLevelVariable }?.value ?? "info"
    guard let level = Logger.Level(rawValue: text.lowercased()) else {
      let known = Logger.Level.allCases.map(\.rawValue).joined(separator: ", ")
      throw StartError(.configuration, "\(NodeConfig.logLevelVariable)=\(text): one of \(known)")
    }
    return level
  }
}

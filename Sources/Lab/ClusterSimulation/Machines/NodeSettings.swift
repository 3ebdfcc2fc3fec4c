import Base
import Metadata
import Model

/// A node's configuration, in the form that it is started with in production.
struct NodeSettings: Sendable {
  let id: NodeID
  /// Of all nodes, in order.
  let all: [NodeID]
  let plan: SimulationPlan
  /// A deliberate bug.
  let mutant: String?

  static let clientPort: UInt16 = 9092
  static let controllerPort: UInt16 = 9093
  static let dataDirectory = "data"

  static func host(_ id: NodeID) -> String { "node-\(id)" }

  /// What `server.properties` would hold.
  var text: String {
    let voters = self.all.map { "\($0)@\(Self.host($0)):\(Self.controllerPort)" }.joined(separator: ",")
    let lines = [
      "process.roles=broker,controller",
      "node.id=\(self.id)",
      "log.dirs=\(Self.dataDirectory)",
      "listeners=PLAINTEXT://\(Self.host(self.id)):\(Self.clientPort),CONTROLLER://\(Self.host(self.id)):\(Self.controllerPort)",
      "controller.listener.names=CONTROLLER",
      "controller.quorum.voters=\(voters)",
      "auto.create.topics.enable=false",
      "replica.lag.time.max.ms=\(self.plan.replicaLag)",
      "num.recovery.threads.per.data.dir=2",
      "log.flush.offset.checkpoint.interval.ms=\(self.plan.checkpointInterval * 2)",
      "log.flush.start.offset.checkpoint.interval.ms=\(self.plan.checkpointInterval * 4)",
      "replica.high.watermark.checkpoint.interval.ms=\(self.plan.checkpointInterval)",
      "log.message.timestamp.after.max.ms=9223372036854775807",
    ]
    return lines.joined(separator: "\n") + "\n"
  }

  func parse() throws(StaticConfigError) -> StaticConfig { try StaticConfig(file: (name: "server.properties", text: self.text)) }
}

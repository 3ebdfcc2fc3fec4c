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

  /// What a node of a dynamic quorum is told at its first start.
  var clusterID: String? { self.plan.isQuorumDynamic ? KafkaUUID(high: 0xA9, low: 0x05).description : nil }
  /// Whether a dynamic quorum begins with this node.
  var isFirst: Bool { self.plan.isQuorumDynamic && self.id == self.all.first }

  private var quorum: [String] {
    if !self.plan.isQuorumDynamic {
      return ["controller.quorum.voters=" + self.all.map { "\($0)@\(Self.host($0)):\(Self.controllerPort)" }.joined(separator: ",")]
    }
    let servers = self.all.map { "\(Self.host($0)):\(Self.controllerPort)" }.joined(separator: ",")
    return ["controller.quorum.bootstrap.servers=" + servers, "controller.quorum.auto.join.enable=\(self.plan.joinsQuorum)"]
  }

  /// What `server.properties` would hold.
  var text: String {
    let lines = [
      "process.roles=broker,controller",
      "node.id=\(self.id)",
      "log.dirs=\(Self.dataDirectory)",
      "listeners=PLAINTEXT://\(Self.host(self.id)):\(Self.clientPort),CONTROLLER://\(Self.host(self.id)):\(Self.controllerPort)",
      "controller.listener.names=CONTROLLER",
      "auto.create.topics.enable=false",
      "replica.lag.time.max.ms=\(self.plan.replicaLag)",
      "num.recovery.threads.per.data.dir=2",
      "log.flush.offset.checkpoint.interval.ms=\(self.plan.checkpointInterval * 2)",
      "log.flush.start.offset.checkpoint.interval.ms=\(self.plan.checkpointInterval * 4)",
      "replica.high.watermark.checkpoint.interval.ms=\(self.plan.checkpointInterval)",
      "log.message.timestamp.after.max.ms=9223372036854775807",
      "metadata.log.max.record.bytes.between.snapshots=\(self.plan.snapshotBytes)",
    ]
    return (lines + self.quorum).joined(separator: "\n") + "\n"
  }

  func parse() throws(StaticConfigError) -> StaticConfig { try StaticConfig(file: (name: "server.properties", text: self.text)) }
}

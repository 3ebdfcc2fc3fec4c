import JSON
import Metadata
import Model

/// The history for programs.
enum HistoryJSON {
  static func nodes(_ nodes: [NodeID]) -> JSONValue { .array(nodes.map { .integer(Int64($0.rawValue)) }) }

  static func partition(_ image: PartitionImage) -> JSONValue {
    .object([
      ("leader", image.hasLeader ? .integer(Int64(image.leader.rawValue)) : .null),
      ("leaderEpoch", .integer(Int64(image.leaderEpoch.rawValue))), ("partitionEpoch", .integer(Int64(image.partitionEpoch.rawValue))),
      ("replicas", Self.nodes(image.assignedReplicas)), ("isr", Self.nodes(image.inSyncReplicas)),
      ("elr", Self.nodes(image.eligibleLeaderReplicas)), ("lastKnownElr", Self.nodes(image.lastKnownEligibleLeaderReplicas)),
      ("adding", Self.nodes(image.addingReplicas)), ("removing", Self.nodes(image.removingReplicas)),
    ])
  }

  /// - Parameters:
  ///   - gap: milliseconds without a leader that the entry ends.
  ///   - fencing: why the broker that a partition lost was fenced.
  static func entry(_ entry: ClusterHistory.Entry, gap: Int64?, fencing: FencingCause? = nil) -> JSONValue {
    var members: [(String, JSONValue)] = [
      ("time", .integer(entry.place.time)), ("offset", .integer(entry.place.offset)),
      ("quorumEpoch", .integer(Int64(entry.place.quorumEpoch))),
    ]
    switch entry.event {
    case .controller(let node): members += [("event", .string("controller")), ("node", .integer(Int64(node.rawValue)))]
    case .topicCreated(let name, let id):
      members += [("event", .string("topicCreated")), ("topic", .string(name)), ("id", .string("\(id)"))]
    case .topicRemoved(let name, let id):
      members += [("event", .string("topicRemoved")), ("topic", .string(name)), ("id", .string("\(id)"))]
    case .topicConfigured(let name, let config, let value):
      members += [
        ("event", .string("topicConfigured")), ("topic", .string(name)), ("config", .string(config)),
        ("value", value.map { .string($0) } ?? .null),
      ]
    case .partition(let topic, let transition):
      members += [
        ("event", .string("partition")), ("topic", .string(topic)),
        ("partition", .integer(Int64(transition.partition.partition.rawValue))),
        ("reason", .string(HistoryWords.name(transition.reason))), ("before", transition.before.map(Self.partition) ?? .null),
        ("after", Self.partition(transition.after)), ("leaderlessMs", ClusterText.json(gap)),
      ]
    case .broker(let node, let change):
      let name =
        switch change {
        case .registered: "registered"
        case .fenced: "fenced"
        case .unfenced: "unfenced"
        case .shutdownBegun: "shutdownBegun"
        case .unregistered: "unregistered"
        }
      members += [("event", .string("broker")), ("node", .integer(Int64(node.rawValue))), ("change", .string(name))]
      if case .fenced(let cause) = change { members.append(("cause", cause.map { .string("\($0)") } ?? .null)) }
    }
    members.append(("text", .string(HistoryWords.text(entry, fencing: fencing))))
    return .object(members)
  }
}

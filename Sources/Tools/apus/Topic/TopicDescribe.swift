import ArgumentParser
import JSON
import KafkaClient

/// `apus topic describe`
struct TopicDescribe: AsyncParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "describe", abstract: "Show partitions, leaders, replicas, offsets, sizes and configuration of topics.",
    discussion: "Exit codes: 0 done; 1 a topic does not exist, or the cluster was not reachable; 64 the command line was wrong.")

  @Argument(help: "The topics' names. Default: all.") var names: [String] = []
  @Flag(name: .long, help: "One JSON array of topics.") var json = false
  @OptionGroup var client: ClientOptions

  /// What several requests said of one partition.
  private struct Measures {
    var start: Int64?
    var end: Int64?
    /// Of the leader's replica.
    var byteCount: Int64?
  }

  func run() async throws {
    try await TopicCommand.withAdmin(self.client) { admin in
      var topics: [TopicDescription] = []
      var hasFailed = false
      for result in try await admin.describeTopics(self.names.isEmpty ? nil : self.names) {
        switch result {
        case .success(let topic): topics.append(topic)
        case .failure(let error):
          StandardError.line("Error: \(error)")
          hasFailed = true
        }
      }
      let measures = try await self.measure(topics, admin)
      var output = StandardOutput()
      if self.json {
        var described: [JSONValue] = []
        for topic in topics { described.append(Self.json(topic, try await self.configs(of: topic, admin), measures)) }
        output.line(JSONValue.array(described).text)
      } else {
        for (index, topic) in topics.enumerated() {
          if index > 0 { output.line("") }
          for line in Self.text(topic, try await self.configs(of: topic, admin), measures) { output.line(line) }
        }
      }
      output.flush()
      if hasFailed { throw ExitCode.failure }
    }
  }

  /// What was set on the topic itself. Older brokers may not say.
  private func configs(of topic: TopicDescription, _ admin: KafkaAdmin) async throws -> [ConfigEntry] {
    do {
      return try await admin.describeConfigs(.topic(topic.name)).filter { $0.source == .topic }
    } catch {
      if error.kind == .unsupportedVersion { return [] }
      throw error
    }
  }

  private func measure(_ topics: [TopicDescription], _ admin: KafkaAdmin) async throws -> [TopicPartition: Measures] {
    var measures: [TopicPartition: Measures] = [:]
    var leaders: [TopicPartition: Int32] = [:]
    for topic in topics {
      for partition in topic.partitions {
        guard let leader = partition.leader else { continue }
        leaders[TopicPartition(topic: topic.name, partition: partition.partition)] = leader
      }
    }
    if leaders.isEmpty { return [:] }
    for (partition, result) in try await admin.listOffsets(leaders.mapValues { _ in .earliest }) {
      measures[partition, default: Measures()].start = try? result.get().offset
    }
    for (partition, result) in try await admin.listOffsets(leaders.mapValues { _ in .latest }) {
      measures[partition, default: Measures()].end = try? result.get().offset
    }
    // Sizes are a courtesy: a broker that does not tell them does not make the rest worthless.
    let directories = (try? await admin.describeLogDirectories(brokers: Set(leaders.values).sorted(), topics: Array(leaders.keys))) ?? []
    for directory in directories {
      for replica in directory.replicas where leaders[replica.partition] == directory.broker {
        measures[replica.partition, default: Measures()].byteCount = replica.byteCount
      }
    }
    return measures
  }

  private static func text(_ topic: TopicDescription, _ configs: [ConfigEntry], _ measures: [TopicPartition: Measures]) -> [String] {
    let total = topic.partitions.reduce(Int64(0)) {
      $0 + (measures[TopicPartition(topic: topic.name, partition: $1.partition)]?.byteCount ?? 0)
    }
    let replication = topic.partitions.map(\.replicas.count).max() ?? 0
    let id = topic.id.map { "  id \($0)" } ?? ""
    var lines = [
      "topic \(topic.name)\(id)  partitions \(topic.partitions.count)  replication \(replication)  size \(Readable.bytes(total))"
    ]
    if !configs.isEmpty { lines.append("configs " + configs.map { "\($0.name)=\($0.value ?? "")" }.joined(separator: " ")) }
    var table = TextTable([
      ("PARTITION", .right), ("LEADER", .right), ("REPLICAS", .left), ("ISR", .left), ("START", .right), ("END", .right), ("SIZE", .right),
    ])
    func list(_ nodes: [Int32]) -> String { nodes.map { "\($0)" }.joined(separator: ",") }
    for partition in topic.partitions {
      let measured = measures[TopicPartition(topic: topic.name, partition: partition.partition)]
      table.add([
        "\(partition.partition)", partition.leader.map { "\($0)" } ?? "none", list(partition.replicas), list(partition.inSyncReplicas),
        measured?.start.map { "\($0)" } ?? "-", measured?.end.map { "\($0)" } ?? "-", measured?.byteCount.map(Readable.bytes) ?? "-",
      ])
    }
    return lines + table.lines
  }

  private static func json(_ topic: TopicDescription, _ configs: [ConfigEntry], _ measures: [TopicPartition: Measures]) -> JSONValue {
    func list(_ nodes: [Int32]) -> JSONValue { .array(nodes.map { .integer(Int64($0)) }) }
    func optional(_ value: Int64?) -> JSONValue { value.map(JSONValue.integer) ?? .null }
    let partitions = topic.partitions.map { partition -> JSONValue in
      let measured = measures[TopicPartition(topic: topic.name, partition: partition.partition)]
      return .object([
        ("partition", .integer(Int64(partition.partition))), ("leader", optional(partition.leader.map(Int64.init))),
        ("leaderEpoch", .integer(Int64(partition.leaderEpoch))), ("replicas", list(partition.replicas)),
        ("isr", list(partition.inSyncReplicas)), ("offline", list(partition.offlineReplicas)), ("startOffset", optional(measured?.start)),
        ("endOffset", optional(measured?.end)), ("size", optional(measured?.byteCount)),
      ])
    }
    return .object([
      ("topic", .string(topic.name)), ("id", topic.id.map(JSONValue.string) ?? .null), ("internal", .bool(topic.isInternal)),
      ("configs", .object(configs.map { ($0.name, $0.value.map(JSONValue.string) ?? .null) })), ("partitions", .array(partitions)),
    ])
  }
}

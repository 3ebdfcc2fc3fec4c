import ArgumentParser
import JSON
import KafkaClient

/// `apus cluster elect`
struct ClusterElect: AsyncParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "elect",
    abstract: "Have leaders elected, or see first what each candidate would lose.",
    discussion: """
      --preferred gives leadership back to the first replica of each partition, if it is in sync: nothing is lost. --unclean elects where \
      no replica in sync is left: records may be lost, so look at --preview first.

      The preview asks every replica for its log. LOSES COMMITTED counts records that are known to be committed and that the candidate \
      lacks; LACKS IN ALL those that the leader has, or else the longest log that answered. Both are lower bounds: logs may have parted \
      before they ended, and what only a silent replica knows is not counted. An unclean election of Apus takes the newest leader epoch \
      and then the longest log of those that answer, Apache Kafka's the first replica that is alive.

      Exit codes: 0 every election was held or not needed; 1 one was refused; 64 the command line was wrong.
      """)

  enum Kind: EnumerableFlag { case preferred, unclean }

  @Flag(help: "Which kind of election.") var kind: Kind
  @Option(name: .long, help: ArgumentHelp("The topic.", valueName: "name")) var topic: String?
  @Option(name: .long, parsing: .singleValue, help: ArgumentHelp("Only this partition of the topic; may be repeated.", valueName: "n"))
  var partition: [Int32] = []
  @Flag(name: .long, help: "Every partition of the cluster.") var all = false
  @Flag(name: .long, help: "Only tell what would happen.") var preview = false
  @Flag(name: .long, help: "One JSON array.") var json = false
  @OptionGroup var client: ClientOptions

  func validate() throws {
    if self.all == (self.topic != nil) { throw ValidationError("Say what to elect for: --topic, or --all.") }
    if self.topic == nil, !self.partition.isEmpty { throw ValidationError("--partition needs --topic.") }
    if self.partition.contains(where: { $0 < 0 }) { throw ValidationError("Partitions count from 0.") }
  }

  func run() async throws {
    let isDone = try await ClusterCommand.withAdmin(try ClusterCommand.configuration(self.client)) { admin in
      let partitions = try await self.partitions(admin)
      return self.preview ? try await self.show(partitions, admin) : try await self.elect(Array(partitions.keys), admin)
    }
    if !isDone { throw ExitCode.failure }
  }

  private var type: ElectionType { self.kind == .preferred ? .preferred : .unclean }

  private func partitions(_ admin: KafkaAdmin) async throws -> [TopicPartition: PartitionDescription] {
    var found: [TopicPartition: PartitionDescription] = [:]
    for result in try await admin.describePartitions(self.topic.map { [$0] }) {
      let topic = try result.get()
      for partition in topic.partitions where self.partition.isEmpty || self.partition.contains(partition.partition) {
        found[TopicPartition(topic: topic.name, partition: partition.partition)] = partition
      }
      for number in self.partition where !topic.partitions.contains(where: { $0.partition == number }) {
        throw KafkaError(.invalidArgument, "topic \(topic.name) has no partition \(number): it has \(topic.partitions.count)")
      }
    }
    return found
  }

  // MARK: Preview

  private func show(_ partitions: [TopicPartition: PartitionDescription], _ admin: KafkaAdmin) async throws -> Bool {
    // With --all, those where something would happen.
    let concerned = partitions.filter { _, partition in
      !self.all || (self.kind == .preferred ? partition.leader != partition.replicas.first : partition.leader == nil)
    }
    var answers: [TopicPartition: [Int32: ElectionPreview.Answer]] = [:]
    for node in Set(concerned.values.flatMap(\.replicas)).sorted() {
      let asked = concerned.filter { $0.value.replicas.contains(node) }.map(\.key)
      do throws(KafkaError) {
        for (id, result) in try await admin.logEnds(of: asked, on: node) {
          answers[id, default: [:]][node] =
            switch result {
            case .success(let end): .end(end)
            case .failure(let error): .unreachable("\(error)")
            }
        }
      } catch {
        for id in asked { answers[id, default: [:]][node] = .unreachable("\(error)") }
      }
    }
    let previews = concerned.sorted { $0.key < $1.key }.map {
      ElectionPreview($0.key, $0.value, self.type, answers: answers[$0.key] ?? [:])
    }
    var output = StandardOutput()
    if self.json {
      output.line(JSONValue.array(previews.map(\.json)).text)
      return true
    }
    if previews.isEmpty { output.line("no partition needs this election") }
    var table = TextTable(ElectionPreview.columns)
    for preview in previews { for row in preview.rows { table.add(row) } }
    if !previews.isEmpty { for line in table.lines { output.line(line) } }
    for preview in previews { output.line("\(preview.id): \(preview.outcome)") }
    return true
  }

  // MARK: Election

  private func elect(_ partitions: [TopicPartition], _ admin: KafkaAdmin) async throws -> Bool {
    let results = try await admin.electLeaders(self.type, self.all ? nil : partitions)
    var isDone = true
    var output = StandardOutput()
    var lines: [JSONValue] = []
    for (id, error) in results.sorted(by: { $0.key < $1.key }) {
      let isNeeded = error?.kind != .broker(code: 84, name: "ELECTION_NOT_NEEDED")
      if let error, isNeeded {
        isDone = false
        StandardError.line("Error: \(id): \(error)")
      }
      let outcome = error == nil ? "elected" : isNeeded ? "refused" : "not needed"
      if self.json {
        lines.append(.object([
          ("topic", .string(id.topic)), ("partition", .integer(Int64(id.partition))), ("outcome", .string(outcome)),
          ("error", ClusterText.json(error.map { "\($0)" })),
        ]))
      } else if error == nil {
        output.line("\(id): elected")
      }
    }
    if self.json { output.line(JSONValue.array(lines).text) }
    let held = results.values.count { $0 == nil }
    if !self.json, held == 0, isDone { output.line("no election was needed") }
    return isDone
  }
}

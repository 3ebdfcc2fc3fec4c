import ArgumentParser
import Base
import JSON
import KafkaClient

/// `apus cluster status`
struct ClusterStatus: AsyncParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "status",
    abstract: "Show the controllers, the brokers, and what is wrong with the partitions.",
    discussion: """
      LAG is how many records of the metadata log a controller or broker lacks; FETCHED and CAUGHT UP are how long ago it last asked for \
      some, and last had all there were.

      Exit codes: 0 healthy; 1 degraded: a partition is under-replicated, a broker fenced or shutting down, or a voter behind; \
      2 unavailable: a partition has no leader, there is no controller, or nobody answers; 64 the command line was wrong.
      """)

  @Flag(name: .long, help: "One JSON object.") var json = false
  @Option(name: .long, help: ArgumentHelp("How long a voter may be behind.", valueName: "duration"))
  var lagMax = DurationArgument(.seconds(2))
  @OptionGroup var client: ClientOptions

  func run() async throws {
    let configuration = try ClusterCommand.configuration(self.client)
    let state: ClusterState
    do {
      state = try await ClusterCommand.withAdmin(configuration) { try await Self.gather($0) }
    } catch let error as KafkaError {
      if self.json {
        var output = StandardOutput()
        output.line(ClusterStatusReport.unavailable("\(error)").text)
      }
      StandardError.line("Error: \(error)")
      throw ExitCode(ClusterHealth.Verdict.unavailable.rawValue)
    }
    let report = ClusterStatusReport(state, lagMax: self.lagMax.duration.wholeMilliseconds)
    var output = StandardOutput()
    if self.json { output.line(report.json.text) } else { for line in report.lines { output.line(line) } }
    output.flush()
    if report.health.verdict != .healthy { throw ExitCode(report.health.verdict.rawValue) }
  }

  /// Asks for everything. Throws only if nobody answers.
  static func gather(_ admin: KafkaAdmin) async throws(KafkaError) -> ClusterState {
    let cluster = try await admin.describeCluster(includingFenced: true)
    let quorum: Result<QuorumDescription, KafkaError>
    do throws(KafkaError) { quorum = .success(try await admin.describeQuorum()) } catch { quorum = .failure(error) }
    let topics = try await admin.describePartitions().compactMap { try? $0.get() }
    var state = ClusterState(cluster: cluster, quorum: quorum, topics: topics, now: WallClock.milliseconds())
    // What is left is a courtesy: a broker that does not tell it does not make the rest worthless.
    if let configs = try? await admin.topicConfigs(topics.map(\.name), names: ["min.insync.replicas"]) {
      state.minInSyncReplicas = configs.compactMapValues { $0["min.insync.replicas"].flatMap { Int($0) } }
    }
    if (try? state.quorum.get().leader) ?? nil != nil { state.reassignments = (try? await admin.listReassignments()) ?? [:] }
    return state
  }
}

/// The state of a cluster for people and for programs.
struct ClusterStatusReport {
  let state: ClusterState
  let health: ClusterHealth

  init(_ state: ClusterState, lagMax: Int64) {
    self.state = state
    self.health = ClusterHealth(state, lagMax: lagMax)
  }

  // MARK: Text

  var lines: [String] {
    let id = self.state.cluster.id.map { "cluster \($0): " } ?? ""
    var lines = [id + "\(self.health.verdict)"] + self.health.reasons.map { "  " + $0 }
    lines += [""] + self.quorumLines + [""] + self.brokerLines + [""] + self.partitionLines
    return lines
  }

  private var quorumLines: [String] {
    guard let quorum = try? self.state.quorum.get() else { return ["controllers: not known"] }
    let leader = quorum.leader.map { "node \($0) leads" } ?? "nobody leads"
    let watermark = quorum.highWatermark.map { ", committed to \($0)" } ?? ""
    var table = TextTable([
      ("CONTROLLER", .right), ("ROLE", .left), ("END", .right), ("LAG", .right), ("FETCHED", .right), ("CAUGHT UP", .right),
      ("LISTENS AT", .left),
    ])
    for (replica, isVoter) in quorum.voters.map({ ($0, true) }) + quorum.observers.map({ ($0, false) }) {
      let isLeader = replica.id == quorum.leader
      func ago(_ milliseconds: Int64?) -> String {
        isLeader ? "-" : milliseconds.map { HistoryWords.duration(milliseconds: $0) } ?? "never"
      }
      let endpoint = quorum.endpoints.first { $0.node == replica.id && isVoter }
      table.add([
        "\(replica.id)", isLeader ? "leader" : isVoter ? "voter" : "observer", replica.logEndOffset.map { "\($0)" } ?? "?",
        quorum.lag(replica).map { "\($0)" } ?? "?", ago(quorum.silent(replica, now: self.state.now)),
        ago(quorum.behind(replica, now: self.state.now)), endpoint.map { "\($0.address)" } ?? "",
      ])
    }
    return ["controllers: \(leader), epoch \(quorum.leaderEpoch)\(watermark)"] + table.lines
  }

  private func standing(_ broker: BrokerDescription) -> String {
    broker.isFenced == true ? "fenced" : broker.isInControlledShutdown == true ? "stopping" : "alive"
  }

  private var brokerLines: [String] {
    var table = TextTable([
      ("BROKER", .right), ("STATE", .left), ("RACK", .left), ("ADDRESS", .left), ("LEADS", .right), ("HOLDS", .right),
    ])
    for broker in self.state.cluster.brokers {
      table.add([
        "\(broker.id)", self.standing(broker), broker.rack ?? "-", "\(broker.address)", "\(self.health.leaders[broker.id] ?? 0)",
        "\(self.health.replicas[broker.id] ?? 0)",
      ])
    }
    return table.lines
  }

  private var partitionLines: [String] {
    let counts = self.health.counts
    var table = TextTable([("PARTITIONS", .left), ("", .right)])
    let rows = [
      ("all", counts.total), ("without a leader", counts.offline), ("under-replicated", counts.underReplicated),
      ("below min.insync.replicas", counts.underMinInSync), ("not led by the preferred leader", counts.notPreferred),
      ("being reassigned", counts.reassigning),
    ]
    for (name, count) in rows { table.add([name, Readable.count(count)]) }
    return table.lines
  }

  // MARK: JSON

  static func unavailable(_ reason: String) -> JSONValue {
    .object([("health", .string("unavailable")), ("reasons", .array([.string(reason)]))])
  }

  var json: JSONValue {
    let counts = self.health.counts
    return .object([
      ("health", .string("\(self.health.verdict)")), ("reasons", .array(self.health.reasons.map(JSONValue.string))),
      ("cluster", ClusterText.json(self.state.cluster.id)), ("quorum", self.quorumJSON),
      ("brokers", .array(self.state.cluster.brokers.map(self.json))),
      ("partitions", .object([
        ("total", .integer(Int64(counts.total))), ("offline", .integer(Int64(counts.offline))),
        ("underReplicated", .integer(Int64(counts.underReplicated))), ("underMinIsr", .integer(Int64(counts.underMinInSync))),
        ("notPreferred", .integer(Int64(counts.notPreferred))), ("reassigning", .integer(Int64(counts.reassigning))),
      ])),
    ])
  }

  private var quorumJSON: JSONValue {
    guard let quorum = try? self.state.quorum.get() else { return .null }
    func replica(_ replica: QuorumReplica) -> JSONValue {
      .object([
        ("id", .integer(Int64(replica.id))), ("directoryId", ClusterText.json(replica.directoryID)),
        ("endOffset", ClusterText.json(replica.logEndOffset)), ("lag", ClusterText.json(quorum.lag(replica))),
        ("sinceFetchMs", ClusterText.json(quorum.silent(replica, now: self.state.now))),
        ("sinceCaughtUpMs", ClusterText.json(quorum.behind(replica, now: self.state.now))),
        ("endpoints", .array(quorum.endpoints.filter { $0.node == replica.id }.map { .string("\($0.listener)://\($0.address)") })),
      ])
    }
    return .object([
      ("leader", ClusterText.json(quorum.leader)), ("epoch", .integer(Int64(quorum.leaderEpoch))),
      ("highWatermark", ClusterText.json(quorum.highWatermark)), ("voters", .array(quorum.voters.map(replica))),
      ("observers", .array(quorum.observers.map(replica))),
    ])
  }

  private func json(_ broker: BrokerDescription) -> JSONValue {
    .object([
      ("id", .integer(Int64(broker.id))), ("rack", ClusterText.json(broker.rack)), ("address", .string("\(broker.address)")),
      ("fenced", ClusterText.json(broker.isFenced)), ("inControlledShutdown", ClusterText.json(broker.isInControlledShutdown)),
      ("leaders", .integer(Int64(self.health.leaders[broker.id] ?? 0))),
      ("replicas", .integer(Int64(self.health.replicas[broker.id] ?? 0))),
    ])
  }
}

import ArgumentParser
import JSON
import KafkaClient

/// `apus cluster`: looks at a cluster and changes who leads and who holds what.
struct ClusterCommand: AsyncParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "cluster",
    abstract: "Look at a cluster, explain its elections, and move leaders, replicas and votes.",
    discussion: """
      Works with any Kafka cluster. What needs the metadata log (explain, and the reasons in leaders) needs brokers of Apus, which let \
      clients read it, or a node's data directory.

      Exit codes: 0 done; 1 refused or failed, with the reason on stderr; 64 the command line was wrong. `status` has its own: see its help.
      """,
    subcommands: [
      ClusterStatus.self, ClusterLeaders.self, ClusterExplain.self, ClusterElect.self, ClusterReassign.self, ClusterDrain.self,
      ClusterVoters.self, ClusterUnregister.self,
    ])

  /// A client's configuration for looking at a cluster that may be ill: whoever does not answer must not keep the others waiting.
  static func configuration(_ options: ClientOptions) throws -> ClientConfiguration {
    var configuration = try options.configuration()
    configuration.connectTimeout = min(configuration.connectTimeout, .seconds(2))
    configuration.requestTimeout = min(configuration.requestTimeout, .seconds(10))
    return configuration
  }

  static func withAdmin<Value>(
    _ configuration: ClientConfiguration, _ body: (KafkaAdmin) async throws -> Value
  ) async throws -> Value {
    let admin = KafkaAdmin(configuration)
    let result: Result<Value, any Error>
    do { result = .success(try await body(admin)) } catch { result = .failure(error) }
    await admin.close()
    return try result.get()
  }
}

/// `apus cluster unregister`
struct ClusterUnregister: AsyncParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "unregister", abstract: "Make the cluster forget a broker that will not come back.",
    discussion: """
      Move its replicas away first (`apus cluster drain`), and stop it.

      Exit codes: 0 done; 1 refused; 64 the command line was wrong.
      """)

  @Argument(help: ArgumentHelp("The broker.", valueName: "node")) var node: Int32
  @OptionGroup var client: ClientOptions

  func run() async throws {
    try await ClusterCommand.withAdmin(try ClusterCommand.configuration(self.client)) { try await $0.unregisterBroker(self.node) }
  }
}

/// JSON and lists as the cluster commands write them.
enum ClusterText {
  static func list(_ nodes: [Int32]) -> String { nodes.isEmpty ? "none" : nodes.map { "\($0)" }.joined(separator: ",") }
  static func json(_ nodes: [Int32]) -> JSONValue { .array(nodes.map { .integer(Int64($0)) }) }
  static func json(_ nodes: [Int32]?) -> JSONValue { nodes.map(Self.json) ?? .null }
  static func json(_ value: Int64?) -> JSONValue { value.map(JSONValue.integer) ?? .null }
  static func json(_ value: Int32?) -> JSONValue { value.map { .integer(Int64($0)) } ?? .null }
  static func json(_ value: String?) -> JSONValue { value.map(JSONValue.string) ?? .null }
  static func json(_ value: Bool?) -> JSONValue { value.map(JSONValue.bool) ?? .null }
}

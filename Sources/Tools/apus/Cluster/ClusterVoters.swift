import ArgumentParser
import KafkaClient

/// `apus cluster voters`
struct ClusterVoters: AsyncParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "voters",
    abstract: "Give controllers a vote, or take it away (KIP-853).",
    discussion: """
      Only a quorum whose voters are kept in its log can be changed: one that was started with controller.quorum.voters cannot.

      Exit codes: 0 done; 1 refused; 64 the command line was wrong.
      """,
    subcommands: [VotersAdd.self, VotersRemove.self])
}

/// `NAME://host:port`, or `host:port` for a listener called CONTROLLER.
struct EndpointArgument: ExpressibleByArgument, Hashable {
  var listener: String
  var address: BrokerAddress

  init?(argument: String) {
    var rest = argument[...]
    self.listener = "CONTROLLER"
    if let sign = argument.firstRange(of: "://") {
      self.listener = String(argument[..<sign.lowerBound])
      rest = argument[sign.upperBound...]
    }
    // Kafka's default port is a broker's: a controller's has to be said.
    guard !self.listener.isEmpty, let address = BrokerAddress(rest), rest.hasSuffix(":\(address.port)") else { return nil }
    self.address = address
  }
}

/// A quorum that was started with a list of its voters.
private enum FixedVoters {
  static let failure = CommandFailure(
    "the voters of this quorum are fixed by controller.quorum.voters: change that, one node after the other")

  static func explained(_ body: () async throws(KafkaError) -> Void) async throws {
    do throws(KafkaError) { try await body() } catch {
      // UNSUPPORTED_VERSION: of `kraft.version`.
      if case .broker(35, _) = error.kind { throw Self.failure }
      throw error
    }
  }
}

/// `apus cluster voters add`
struct VotersAdd: AsyncParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "add", abstract: "Give a controller a vote. It must run, and follow the log already.",
    discussion: "Exit codes: 0 done; 1 refused; 64 the command line was wrong.")

  @Argument(help: ArgumentHelp("The controller.", valueName: "node")) var node: Int32
  @Option(
    name: .long, parsing: .singleValue,
    help: ArgumentHelp(
      "Where the other voters reach it; may be repeated. The name is CONTROLLER unless given.", valueName: "name://host:port"))
  var endpoint: [EndpointArgument]
  @Option(
    name: .long, help: ArgumentHelp("directory.id of its meta.properties. Default: what it tells as an observer.", valueName: "id"))
  var directoryID: String?
  @OptionGroup var client: ClientOptions

  func validate() throws {
    if self.endpoint.isEmpty { throw ValidationError("Say where the other voters reach it: --endpoint host:port.") }
  }

  func run() async throws {
    try await ClusterCommand.withAdmin(try ClusterCommand.configuration(self.client)) { admin in
      let directory: String
      if let directoryID {
        directory = directoryID
      } else {
        let quorum = try await admin.describeQuorum()
        if quorum.voters.contains(where: { $0.id == self.node }) { throw CommandFailure("node \(self.node) is a voter already") }
        guard let found = quorum.observers.first(where: { $0.id == self.node })?.directoryID else {
          throw CommandFailure(
            "node \(self.node) is no observer of the quorum: start it with this cluster's controllers in its configuration, "
              + "or say its --directory-id")
        }
        directory = found
      }
      let endpoints = self.endpoint.map { QuorumEndpoint(node: self.node, listener: $0.listener, address: $0.address) }
      try await FixedVoters.explained { () async throws(KafkaError) in
        try await admin.addVoter(self.node, directoryID: directory, endpoints: endpoints)
      }
    }
  }
}

/// `apus cluster voters remove`
struct VotersRemove: AsyncParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "remove", abstract: "Take a controller's vote away. It may be gone already.",
    discussion: "Exit codes: 0 done; 1 refused; 64 the command line was wrong.")

  @Argument(help: ArgumentHelp("The controller.", valueName: "node")) var node: Int32
  @Option(
    name: .long, help: ArgumentHelp("Which one, where a node is a voter with two directories.", valueName: "id"))
  var directoryID: String?
  @OptionGroup var client: ClientOptions

  func run() async throws {
    try await ClusterCommand.withAdmin(try ClusterCommand.configuration(self.client)) { admin in
      let directory: String
      if let directoryID {
        directory = directoryID
      } else {
        let found = try await admin.describeQuorum().voters.filter { $0.id == self.node }
        guard let first = found.first else { throw CommandFailure("node \(self.node) is not a voter") }
        guard found.count == 1 else {
          let ids = found.map { $0.directoryID ?? "?" }.joined(separator: ", ")
          throw CommandFailure("node \(self.node) is a voter more than once, with the directories \(ids): say which with --directory-id")
        }
        guard let known = first.directoryID else { throw FixedVoters.failure }
        directory = known
      }
      try await FixedVoters.explained { () async throws(KafkaError) in try await admin.removeVoter(self.node, directoryID: directory) }
    }
  }
}

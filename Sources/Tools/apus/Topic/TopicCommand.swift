import ArgumentParser
import JSON
import KafkaClient

/// `apus topic`: creates, lists, describes, alters and deletes topics.
struct TopicCommand: AsyncParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "topic",
    abstract: "Create, list, describe, alter and delete topics.",
    discussion: "Exit codes: 0 done; 1 refused by the cluster or not reachable, with the reason on stderr; 64 the command line was wrong.",
    subcommands: [TopicCreate.self, TopicList.self, TopicDescribe.self, TopicAlter.self, TopicDelete.self])

  /// Runs `body` with an administration client and closes it afterwards.
  static func withAdmin(_ options: ClientOptions, _ body: (KafkaAdmin) async throws -> Void) async throws {
    let admin = KafkaAdmin(try options.configuration())
    do {
      try await body(admin)
    } catch {
      await admin.close()
      throw error
    }
    await admin.close()
  }
}

/// `apus topic create`
struct TopicCreate: AsyncParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "create", abstract: "Create topics.",
    discussion: """
      Example: apus topic create orders --partitions 6 --config retention.ms=86400000

      Exit codes: 0 every topic was created (or existed, with --if-not-exists); 1 one was refused; 64 the command line was wrong.
      """)

  @Argument(help: "The topics' names.") var names: [String]
  @Option(name: .long, help: ArgumentHelp("Partitions of each. Default: the broker's num.partitions.", valueName: "n"))
  var partitions: Int32?
  @Option(name: .long, help: ArgumentHelp("Replicas of each partition. Default: the broker's default.replication.factor.", valueName: "n"))
  var replicationFactor: Int16?
  @Option(name: .long, parsing: .singleValue, help: ArgumentHelp("A topic configuration, may be repeated.", valueName: "key=value"))
  var config: [PairArgument] = []
  @Flag(name: .long, help: "Leave topics alone that exist already.") var ifNotExists = false
  @Flag(name: .long, help: "Only check whether it would succeed.") var validateOnly = false
  @OptionGroup var client: ClientOptions

  func validate() throws {
    if self.names.isEmpty { throw ValidationError("Name at least one topic.") }
    if let partitions, partitions < 1 { throw ValidationError("A topic has at least one partition.") }
    if let replicationFactor, replicationFactor < 1 { throw ValidationError("A partition has at least one replica.") }
  }

  func run() async throws {
    try await TopicCommand.withAdmin(self.client) { admin in
      let configs = Dictionary(self.config.map { ($0.name, $0.value) }) { $1 }
      let topics = self.names.map {
        NewTopic($0, partitions: self.partitions, replicationFactor: self.replicationFactor, configs: configs)
      }
      var hasFailed = false
      for result in try await admin.createTopics(topics, validateOnly: self.validateOnly) {
        guard case .failure(let error) = result else { continue }
        if self.ifNotExists, error.kind == .broker(code: 36, name: "TOPIC_ALREADY_EXISTS") { continue }
        StandardError.line("Error: \(error)")
        hasFailed = true
      }
      if hasFailed { throw ExitCode.failure }
    }
  }
}

/// `apus topic list`
struct TopicList: AsyncParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "list", abstract: "List topics, one name per line.",
    discussion: "Exit codes: 0 done; 1 the cluster was not reachable; 64 the command line was wrong.")

  @Flag(name: .long, help: "One JSON array of names.") var json = false
  @Flag(name: .long, help: "Leave out the cluster's own topics.") var excludeInternal = false
  @OptionGroup var client: ClientOptions

  func run() async throws {
    try await TopicCommand.withAdmin(self.client) { admin in
      let topics = try await admin.describeTopics().compactMap { try? $0.get() }
      let names = topics.filter { !self.excludeInternal || !$0.isInternal }.map(\.name)
      var output = StandardOutput()
      if self.json {
        output.line(JSONValue.array(names.map(JSONValue.string)).text)
      } else {
        for name in names { output.line(name) }
      }
    }
  }
}

/// `apus topic alter`
struct TopicAlter: AsyncParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "alter", abstract: "Change a topic's configuration or give it more partitions.",
    discussion: """
      Example: apus topic alter orders --config retention.ms=3600000 --delete-config cleanup.policy --partitions 12

      Exit codes: 0 done; 1 refused; 64 the command line was wrong.
      """)

  @Argument(help: "The topic's name.") var name: String
  @Option(name: .long, parsing: .singleValue, help: ArgumentHelp("A configuration to set, may be repeated.", valueName: "key=value"))
  var config: [PairArgument] = []
  @Option(
    name: .long, parsing: .singleValue,
    help: ArgumentHelp("A configuration to put back to its default, may be repeated.", valueName: "key"))
  var deleteConfig: [String] = []
  @Option(
    name: .long, help: ArgumentHelp("Partitions in all. The number can only grow, and keys move to other partitions.", valueName: "n"))
  var partitions: Int32?
  @Flag(name: .long, help: "Only check whether it would succeed.") var validateOnly = false
  @OptionGroup var client: ClientOptions

  func validate() throws {
    if self.config.isEmpty, self.deleteConfig.isEmpty, self.partitions == nil {
      throw ValidationError("Say what to change: --config, --delete-config or --partitions.")
    }
    for pair in self.config where self.deleteConfig.contains(pair.name) {
      throw ValidationError("'\(pair.name)' cannot be set and deleted at once.")
    }
  }

  func run() async throws {
    try await TopicCommand.withAdmin(self.client) { admin in
      var changes = Dictionary(self.config.map { ($0.name, ConfigChange.set($0.value)) }) { $1 }
      for name in self.deleteConfig { changes[name] = .delete }
      if !changes.isEmpty { try await admin.alterConfigs(.topic(self.name), changes, validateOnly: self.validateOnly) }
      if let partitions = self.partitions {
        try await admin.createPartitions(self.name, count: partitions, validateOnly: self.validateOnly)
      }
    }
  }
}

/// `apus topic delete`
struct TopicDelete: AsyncParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "delete", abstract: "Delete topics and everything in them.",
    discussion: """
      Exit codes: 0 every topic was deleted (or was not there, with --if-exists); 1 one was refused; 64 the command line was wrong.
      """)

  @Argument(help: "The topics' names.") var names: [String]
  @Flag(name: .long, help: "Do not mind topics that do not exist.") var ifExists = false
  @OptionGroup var client: ClientOptions

  func run() async throws {
    try await TopicCommand.withAdmin(self.client) { admin in
      var hasFailed = false
      for case let error? in try await admin.deleteTopics(self.names) {
        if self.ifExists, error.kind == .broker(code: 3, name: "UNKNOWN_TOPIC_OR_PARTITION") { continue }
        StandardError.line("Error: \(error)")
        hasFailed = true
      }
      if hasFailed { throw ExitCode.failure }
    }
  }
}

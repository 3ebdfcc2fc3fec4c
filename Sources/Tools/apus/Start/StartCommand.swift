import ArgumentParser

/// `apus start`: one node, until a signal stops it.
struct StartCommand: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "start",
    abstract: "Start a node.",
    discussion: """
      Without arguments: a single node on 127.0.0.1:9092 that keeps its data in ./apus-data.
      When it accepts clients it prints one line to standard output: apus ready node=<id> listen=<host:port> cluster=<id>.
      """)

  @Option(name: .long, help: ArgumentHelp("Kafka's server.properties.", valueName: "file"))
  var config: String?
  @Option(name: .long, help: ArgumentHelp("The data directory.", valueName: "dir"))
  var data: String?
  @Option(name: .long, help: ArgumentHelp("The address to listen on; port 0 picks a free one.", valueName: "host:port"))
  var listen: String?
  @Option(name: .customLong("set"), help: ArgumentHelp("Override one configuration key; may be repeated.", valueName: "key=value"))
  var overrides: [String] = []
}

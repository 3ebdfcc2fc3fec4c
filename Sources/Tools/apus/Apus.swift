import ArgumentParser
import Metadata

/// The one executable: broker, client and benchmark. Each subcommand lives in a folder of its own beside this file.
@main
struct Apus: AsyncParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "apus",
    abstract: "A Kafka-compatible broker, its command-line client and its benchmark.",
    discussion: """
      The client commands work against any Kafka broker: give its address with --bootstrap or in APUS_BOOTSTRAP.

      Shell completion: `apus --generate-completion-script bash` (or zsh, fish) prints a script to source.

      Exit codes: 0 done; 1 refused or failed, with the reason on stderr; 64 the command line was wrong. `apus start` and \
      `apus cluster status` have more: see their help.
      """,
    version: "0.1.0",
    subcommands: [
      StartCommand.self, ClusterCommand.self, TopicCommand.self, ProduceCommand.self, ConsumeCommand.self, BenchCommand.self,
      LogCommand.self, SimCommand.self,
    ]
  )

  static func main() async {
    let arguments = Array(CommandLine.arguments.dropFirst())
    if let problem = self.unknownCommand(in: arguments) { self.exit(withError: ValidationError(problem)) }
    await self.main(arguments)
  }

  /// What is wrong if the first word is no command: the parser would only count the words as too many.
  static func unknownCommand(in arguments: [String]) -> String? {
    var (commands, path) = (self.configuration.subcommands, "apus")
    for word in arguments {
      if word.hasPrefix("-") || word == "help" || commands.isEmpty { return nil }
      let names = commands.map { $0.configuration.commandName ?? "" }
      guard let place = names.firstIndex(of: word) else {
        let nearest = nearestMatch(to: word, among: names).map { "; did you mean \($0)?" } ?? ""
        return "'\(path)' has no command '\(word)': there are \(names.joined(separator: ", "))\(nearest)"
      }
      path += " " + word
      commands = commands[place].configuration.subcommands
    }
    return nil
  }
}

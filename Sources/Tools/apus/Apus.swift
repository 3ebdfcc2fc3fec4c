import ArgumentParser

/// The one executable: broker, client and benchmark. Each subcommand lives in a folder of its own beside this file.
@main
struct Apus: AsyncParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "apus",
    abstract: "A Kafka-compatible broker, its command-line client and its benchmark.",
    discussion: """
      The client commands work against any Kafka broker: give its address with --bootstrap or in APUS_BOOTSTRAP.

      Shell completion: `apus --generate-completion-script bash` (or zsh, fish) prints a script to source.

      Exit codes: 0 done; 1 refused or failed, with the reason on stderr; 64 the command line was wrong.
      """,
    version: "0.1.0",
    subcommands: [
      StartCommand.self, TopicCommand.self, ProduceCommand.self, ConsumeCommand.self, BenchCommand.self, LogCommand.self,
    ]
  )
}

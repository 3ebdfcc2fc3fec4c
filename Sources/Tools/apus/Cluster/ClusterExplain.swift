import ArgumentParser
import JSON
import KafkaClient
import Metadata
import Model

/// `apus cluster explain`
struct ClusterExplain: AsyncParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "explain",
    abstract: "Tell what happened to a partition: its elections and changes of its in-sync replicas, with their causes.",
    discussion: """
      The story is read from the metadata log: every change of the partition, and of the brokers that hold it, and each new controller. \
      Reasons are there where Apus wrote the log. What is older than the log's last snapshot is gone.

      With --log-dir the log is read from a node's files, whether it runs or not. The end of such a log may not be committed.

      Exit codes: 0 done; 1 there is no such partition, or the log cannot be read; 64 the command line was wrong.
      """)

  @Argument(help: "The topic's name.") var topic: String
  @Argument(help: "The partition's number.") var partition: Int32
  @Option(name: .long, help: ArgumentHelp("Read the log from a node's data directory.", valueName: "dir")) var logDir: String?
  @Option(
    name: .long, parsing: .unconditional,
    help: ArgumentHelp("Only what happened since, such as -1h or 2026-11-23T17:46:00Z.", valueName: "time"))
  var since: TimeArgument?
  @Flag(name: .long, help: "Only changes of the partition itself, not of its brokers and the controllers.") var only = false
  @Flag(name: .long, help: "One JSON object.") var json = false
  @OptionGroup var client: ClientOptions

  func validate() throws {
    if self.partition < 0 { throw ValidationError("Partitions count from 0.") }
    if self.logDir != nil, self.client.bootstrap != nil { throw ValidationError("Give --log-dir or --bootstrap, not both.") }
  }

  func run() async throws {
    var story = PartitionStory(topic: self.topic, partition: PartitionID(self.partition))
    let history: ClusterHistory
    if let logDir {
      var read = ClusterHistory()
      try MetadataLogFiles(logDir).replay(into: &read) { story.take($0) }
      history = read
    } else {
      let told = try await ClusterCommand.withAdmin(try ClusterCommand.configuration(self.client)) { admin in
        var (tail, told) = (MetadataLogTail(admin), story)
        try await tail.catchUp { told.take($0) }
        return (tail.history, told)
      }
      (history, story) = told
    }
    guard let report = PartitionReport(story, history, since: self.since?.milliseconds, only: self.only) else {
      throw CommandFailure("the metadata log knows no partition \(self.partition) of a topic \(self.topic)")
    }
    var output = StandardOutput()
    if self.json { output.line(report.json.text) } else { for line in report.lines { output.line(line) } }
  }
}

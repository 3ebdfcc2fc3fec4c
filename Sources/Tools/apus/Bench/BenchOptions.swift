import ArgumentParser
import KafkaClient
import Model

/// What every benchmark takes.
struct BenchOptions: ParsableArguments {
  @Option(name: .long, help: ArgumentHelp("The topic.", valueName: "name")) var topic = "apus-bench"
  @Option(name: .long, help: ArgumentHelp("Connections, spread over the partitions.", valueName: "n")) var connections = 1
  @Option(name: .long, help: ArgumentHelp("Threads that drive the connections.", valueName: "n")) var threads = 1
  @Option(name: .long, help: ArgumentHelp("Stop after so many records.", valueName: "n")) var records: Int?
  @Option(name: .long, help: ArgumentHelp("Stop after this time.", valueName: "duration")) var duration: DurationArgument?
  @Option(name: .long, help: ArgumentHelp("The broker's process id, to measure its CPU time and memory. Linux only.", valueName: "pid"))
  var brokerPid: Int?
  @Flag(name: .long, help: "One JSON object.") var json = false
  @OptionGroup var client: ClientOptions

  func validate() throws {
    if self.connections < 1 || self.connections > 10000 { throw ValidationError("Between 1 and 10000 connections are possible.") }
    if self.threads < 1 || self.threads > 256 { throw ValidationError("Between 1 and 256 threads are possible.") }
    if let records, records < 1 { throw ValidationError("At least one record must be asked for.") }
    if let brokerPid, ProcessMeter(pid: brokerPid).read() == nil {
      throw ValidationError("There is no process \(brokerPid), or /proc cannot be read.")
    }
  }

  /// The address of each partition's leader with its id.
  ///
  /// - Parameter new: the topic to create if it is missing; nil refuses then.
  func prepare(creating new: NewTopic? = nil) async throws -> BenchTarget {
    let configuration = try self.client.configuration()
    let admin = KafkaAdmin(configuration)
    do {
      let target = try await self.prepare(creating: new, with: admin)
      await admin.close()
      return target
    } catch {
      await admin.close()
      throw error
    }
  }

  private func prepare(creating new: NewTopic?, with admin: KafkaAdmin) async throws -> BenchTarget {
    if case .failure(let error) = try await admin.describeTopics([self.topic])[0] {
      guard error.kind == .broker(code: 3, name: "UNKNOWN_TOPIC_OR_PARTITION") else { throw error }
      guard let new else {
        throw CommandFailure("there is no topic \(self.topic) to read: fill it with `apus bench produce --topic \(self.topic)`")
      }
      _ = try await admin.createTopics([new])[0].get()
    }
    // Leaders follow within moments of the creation.
    var leaders: [Int32: Int32] = [:]
    for _ in 0..<100 {
      if case .success(let topic) = try await admin.describeTopics([self.topic])[0], !topic.partitions.isEmpty {
        leaders = Dictionary(uniqueKeysWithValues: topic.partitions.compactMap { entry in entry.leader.map { (entry.partition, $0) } })
        if leaders.count == topic.partitions.count {
          let brokers = try await admin.describeCluster().brokers
          return BenchTarget(
            topic: topic.name, topicID: topic.id.flatMap { KafkaUUID($0) } ?? .zero, leaders: leaders,
            addresses: Dictionary(uniqueKeysWithValues: brokers.map { ($0.id, $0.address) }))
        }
      }
      try await Task.sleep(for: .milliseconds(100))
    }
    throw KafkaError(.timeout, "topic \(self.topic) has partitions without a leader; see `apus topic describe \(self.topic)`")
  }
}

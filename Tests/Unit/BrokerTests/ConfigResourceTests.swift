import Base
import Broker
import Metadata
import Model
import Synchronization
import Testing
import VirtualWorld
import Wire

/// Config resources other than topics and brokers: loggers, groups, subscriptions to clients' metrics.
@Suite("Other config resources")
struct ConfigResourceTests {
  private final class Levels: LogLevels {
    let current = Mutex<LogLevel>(.info)
    var loggers: [(name: String, level: LogLevel)] { [("root", self.current.withLock { $0 })] }
    func set(_ level: LogLevel, of logger: String) { self.current.withLock { $0 = level } }
  }

  private func describe(_ node: TestNode, _ type: Int8, _ name: String) throws -> DescribeConfigsResponse.DescribeConfigsResult {
    let request = DescribeConfigsRequest(
      resources: [.init(resourceType: type, resourceName: name)], includeSynonyms: true, includeDocumentation: true)
    return try #require(try node.ask(request).results.first)
  }

  private func alter(
    _ node: TestNode, _ type: Int8, _ name: String, _ config: String, _ operation: Int8, _ value: String?, validateOnly: Bool = false
  ) throws -> IncrementalAlterConfigsResponse.AlterConfigsResourceResponse {
    let request = IncrementalAlterConfigsRequest(
      resources: [
        .init(resourceType: type, resourceName: name, configs: [.init(name: config, configOperation: operation, value: value)])
      ], validateOnly: validateOnly)
    return try #require(try node.ask(request).responses.first)
  }

  @Test("Log levels are shown and changed while the broker runs (KIP-412)")
  func loggers() throws {
    let levels = Levels()
    let node = try TestNode(logLevels: levels)
    let before = try self.describe(node, 8, "1")
    #expect(before.errorCode == .none && before.configs.map(\.name) == ["root"] && before.configs.map(\.value) == ["INFO"])
    #expect(before.configs.map(\.configSource) == [6] && before.configs.map(\.readOnly) == [false])
    #expect(try self.alter(node, 8, "1", "root", 0, "DEBUG", validateOnly: true).errorCode == .none)
    #expect(levels.current.withLock { $0 } == .info, "only looked at")
    #expect(try self.alter(node, 8, "1", "root", 0, "DEBUG").errorCode == .none)
    #expect(try self.describe(node, 8, "1").configs.map(\.value) == ["DEBUG"])
    #expect(node.events.contains { if case .logLevelChanged("root", .debug, "test") = $0 { true } else { false } })
    #expect(try self.alter(node, 8, "1", "root", 0, "debug").errorCode == .invalidConfig, "Kafka's levels are in capitals")
    #expect(try self.alter(node, 8, "1", "kafka.server", 0, "DEBUG").errorCode == .invalidConfig)
    #expect(try self.alter(node, 8, "1", "root", 1, nil).errorCode == .invalidRequest)
    #expect(try self.alter(node, 8, "1", "root", 2, "DEBUG").errorCode == .invalidRequest)
    #expect(try self.alter(node, 8, "1", "root", 9, "DEBUG").errorCode == .invalidRequest)
    #expect(try self.alter(node, 8, "2", "root", 0, "DEBUG").errorCode == .invalidRequest)
    #expect(try self.alter(node, 8, "", "root", 0, "DEBUG").errorCode == .invalidRequest)
    #expect(try self.describe(node, 8, "").errorCode == .invalidRequest)
    #expect(try self.describe(node, 8, "2").errorCode == .invalidRequest)
    let replaced = try node.ask(
      AlterConfigsRequest(resources: [.init(resourceType: 8, resourceName: "1", configs: [.init(name: "root", value: "TRACE")])]))
    #expect(replaced.responses.map(\.errorCode) == [.invalidRequest])
    #expect(levels.current.withLock { $0 } == .debug)
  }

  @Test("One request may change a topic, a logger and what cannot be changed, and each has its answer in its place")
  func mixed() throws {
    let levels = Levels()
    let node = try TestNode(logLevels: levels)
    try node.createTopic("t")
    let response = try node.ask(
      IncrementalAlterConfigsRequest(
        resources: [
          .init(resourceType: 32, resourceName: "g", configs: [.init(name: "consumer.session.timeout.ms", configOperation: 0, value: "1")]),
          .init(resourceType: 8, resourceName: "1", configs: [.init(name: "root", configOperation: 0, value: "WARN")]),
          .init(resourceType: 2, resourceName: "t", configs: [.init(name: "retention.ms", configOperation: 0, value: "5")]),
        ]))
    #expect(response.responses.map(\.errorCode) == [.invalidRequest, .none, .none])
    #expect(response.responses.map(\.resourceName) == ["g", "1", "t"])
    #expect(levels.current.withLock { $0 } == .warn)
  }

  @Test("Groups show the defaults of Kafka 4.2, or the broker's; they cannot be changed as long as none are served")
  func groups() throws {
    let node = try TestNode(settings: ["group.consumer.session.timeout.ms": "50000"])
    let group = try self.describe(node, 32, "any")
    #expect(group.errorCode == .none && group.configs.count == 11)
    #expect(group.configs.first?.name == "consumer.heartbeat.interval.ms" && group.configs.first?.value == "5000")
    #expect(group.configs.first?.synonyms.map(\.name) == ["group.consumer.heartbeat.interval.ms"])
    let session = try #require(group.configs.first { $0.name == "consumer.session.timeout.ms" })
    #expect(session.value == "50000" && session.configSource == 4)
    #expect(session.synonyms.map(\.value) == ["50000", "45000"])
    #expect(try self.describe(node, 32, "").errorCode == .invalidRequest)
    let refused = try self.alter(node, 32, "g", "consumer.session.timeout.ms", 0, "46000")
    #expect(refused.errorCode == .invalidRequest && refused.errorMessage?.contains("serves no groups") == true)
  }

  @Test("Subscriptions to clients' metrics show their defaults and cannot be changed")
  func clientMetrics() throws {
    let node = try TestNode()
    let metrics = try self.describe(node, 16, "any")
    #expect(metrics.configs.map(\.name) == ["interval.ms", "match", "metrics"])
    #expect(metrics.configs.map(\.value) == ["300000", "", ""])
    #expect(try self.describe(node, 16, "").errorCode == .invalidRequest)
    #expect(try self.alter(node, 16, "m", "interval.ms", 0, "1000").errorCode == .invalidRequest)
  }
}

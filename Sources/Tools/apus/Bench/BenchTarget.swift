import Base
import JSON
import KafkaClient
import Model
import NIOCore
import NIOPosix

/// The topic under load and where its partitions are led.
struct BenchTarget: Sendable {
  var topic: String
  /// Zero where the broker is too old to say.
  var topicID: KafkaUUID
  var leaders: [Int32: Int32]
  var addresses: [Int32: BrokerAddress]

  /// Which partitions each connection drives. Every connection talks to one broker; partitions of a broker are dealt out to its
  /// connections in turn, and if there are fewer of them than connections, several connections drive the same partition.
  func lanes(connections: Int) -> [(address: BrokerAddress, partitions: [Int32])] {
    let brokers = Dictionary(grouping: self.leaders.keys, by: { self.leaders[$0]! }).sorted { $0.key < $1.key }
    var lanes: [(address: BrokerAddress, partitions: [Int32])] = []
    for (index, (broker, partitions)) in brokers.enumerated() {
      guard let address = self.addresses[broker] else { continue }
      let share = max(1, connections / brokers.count + (index < connections % brokers.count ? 1 : 0))
      let partitions = partitions.sorted()
      for lane in 0..<share {
        let mine = partitions.enumerated().filter { $0.offset % share == lane }.map(\.element)
        lanes.append((address, mine.isEmpty ? [partitions[lane % partitions.count]] : mine))
      }
    }
    return lanes
  }
}

/// What one lane did.
struct LaneResult: Sendable {
  var records = 0
  var bytes = 0
  var latency = LatencyHistogram()

  mutating func merge(_ other: LaneResult) {
    self.records += other.records
    self.bytes += other.bytes
    self.latency.merge(other.latency)
  }
}

/// One connection's part of a benchmark. Lives on the connection's event loop.
protocol BenchLane: AnyObject {
  func run() -> EventLoopFuture<LaneResult>
}

/// Runs lanes side by side and measures around them.
enum BenchRunner {
  static func run(
    _ target: BenchTarget, _ options: BenchOptions, name: String, parameters: [(String, JSONValue)], latencyOf: String,
    lane: @escaping @Sendable (BrokerConnection, [Int32]) throws -> any BenchLane
  ) async throws -> BenchReport {
    let configuration = try options.client.configuration()
    let group = MultiThreadedEventLoopGroup(numberOfThreads: min(options.threads, options.connections))
    var lanes: [NIOLoopBound<any BenchLane>] = []
    var connections: [BrokerConnection] = []
    let outcome: Result<BenchReport, any Error>
    do {
      for (address, partitions) in target.lanes(connections: options.connections) {
        let connection = try await BrokerConnection.connect(to: address, configuration, on: group.next()).get()
        connections.append(connection)
        lanes.append(
          try await connection.eventLoop.submit {
            NIOLoopBound(try lane(connection, partitions), eventLoop: connection.eventLoop)
          }.get())
      }
      let meter = options.brokerPid.map { ProcessMeter(pid: $0) }
      let before = meter?.read()
      let ownBefore = ProcessMeter.ownCPUSeconds()
      let start = MonotonicClock.now()
      let running = zip(connections, lanes).map { connection, lane in connection.eventLoop.flatSubmit { lane.value.run() } }
      var total = LaneResult()
      var failure: (any Error)?
      for future in running {
        do { total.merge(try await future.get()) } catch { failure = failure ?? error }
      }
      let seconds = Double((MonotonicClock.now() - start).wholeNanoseconds) / 1e9
      let own = ProcessMeter.ownCPUSeconds() - ownBefore
      let after = meter?.read()
      if let failure { throw failure }
      outcome = .success(
        BenchReport(
          name: name, parameters: parameters, records: total.records, bytes: total.bytes, seconds: seconds, latency: total.latency,
          latencyOf: latencyOf, clientCPUSeconds: own,
          brokerCPUSeconds: after.flatMap { after in before.map { after.cpuSeconds - $0.cpuSeconds } },
          brokerPeakByteCount: after?.peakResidentByteCount))
    } catch {
      outcome = .failure(error)
    }
    try await Self.close(connections, group)
    return try outcome.get()
  }

  private static func close(_ connections: [BrokerConnection], _ group: MultiThreadedEventLoopGroup) async throws {
    for connection in connections {
      try? await connection.eventLoop.submit { connection.close(KafkaError(.closed, "the benchmark is over")) }.get()
    }
    try await group.shutdownGracefully()
  }
}

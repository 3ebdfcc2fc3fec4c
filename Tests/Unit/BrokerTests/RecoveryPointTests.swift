import Broker
import Environment
import LogCore
import Model
import Storage
import Testing
import VirtualWorld
import Wire

@Suite("The recovery point of a log that nobody has flushed")
struct RecoveryPointTests {
  private static let configs = ["flush.policy": "os", "segment.bytes": "20000"]

  private func report(_ events: EventList) -> RecoveryReport? {
    events.all.compactMap { if case .logRecovered(let report) = $0, report.topicPartition.topic == "t" { report } else { nil } }.first
  }

  @Test("It follows the closed segments, so that a start after a crash reads what came after")
  func closedSegments() throws {
    let node = try TestNode()
    try node.createTopic("t", configs: Self.configs)
    let value = String(repeating: "x", count: 1000)
    for _ in 0..<200 { #expect(try node.produce("t", [value]).errorCode == .none) }
    // The points are written down every five seconds.
    node.environment.advance(by: .seconds(6))
    let next = try node.killedAndRestarted()
    let report = try #require(self.report(next.events))
    #expect(report.recoveryPoint > Offset(170), "\(report)")
    #expect(report.scannedByteCount < 40_000, "of 200,000 bytes: \(report)")
    #expect(try next.consume("t").count == 200)
    // What was synced in the background is not lost with the power either.
    #expect(try next.killedAndRestarted(losingPower: true).consume("t").count >= Int(report.recoveryPoint.rawValue))
  }

  @Test("The active segment is left to the system")
  func activeSegment() throws {
    let node = try TestNode()
    try node.createTopic("t", configs: Self.configs)
    for _ in 0..<5 { #expect(try node.produce("t", [String(repeating: "x", count: 1000)]).errorCode == .none) }
    node.environment.advance(by: .seconds(120))
    #expect(try self.report(node.killedAndRestarted().events)?.recoveryPoint == .zero)
  }

  @Test("A background sync that fails is fatal, too")
  func failedSync() throws {
    let node = try TestNode()
    try node.createTopic("t", configs: Self.configs)
    node.disk.inject(DiskFault(.sync, .io, pathSuffix: "t-0/00000000000000000000.log"))
    for _ in 0..<30 { _ = try node.produce("t", [String(repeating: "x", count: 1000)]) }
    #expect(try node.produce("t", ["more"]).errorCode == .kafkaStorageError)
    #expect(node.events.contains { if case .logDirectoryFailed = $0 { true } else { false } })
  }
}

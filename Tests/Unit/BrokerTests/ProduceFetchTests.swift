import Base
import Broker
import Model
import NIOCore
import Testing
import Wire

@Suite("Produce and fetch")
struct ProduceFetchTests {
  @Test("What is produced is fetched, in order and with its offsets")
  func roundTrip() throws {
    let node = try TestNode()
    try node.createTopic("t")
    let first = try node.produce("t", ["a", "b"])
    #expect(first.errorCode == .none && first.baseOffset == 0 && first.logAppendTimeMs == -1 && first.logStartOffset == 0)
    #expect(try node.produce("t", ["c"]).baseOffset == 2)
    let data = try #require(try node.ask(fetchRequest("t", from: 0), version: 12).onlyPartition)
    #expect(try data.values() == ["a", "b", "c"])
    #expect(try data.offsets() == [0, 1, 2])
    #expect(data.highWatermark == 3 && data.lastStableOffset == 3 && data.logStartOffset == 0)
  }
}

import Base
import Model
import Testing

@testable import Metadata

@Suite struct ReplicaPlacerTests {
  private func brokers(_ racks: [String?], fenced: Set<Int32> = []) -> [BrokerRegistration] {
    racks.enumerated().map { index, rack in
      BrokerRegistration(
        nodeID: NodeID(Int32(index)), incarnationID: .zero, epoch: BrokerEpoch(0), endpoints: [], rack: rack,
        isFenced: fenced.contains(Int32(index)))
    }
  }
  private func place(
    _ brokers: [BrokerRegistration], count: Int, factor: Int, seed: UInt64 = 1
  ) throws -> [[NodeID]] {
    var generator = SeededGenerator(seed: seed)
    return try ReplicaPlacer(brokers, using: &generator).place(count: count, replicationFactor: factor)
  }

  @Test(arguments: 0..<20 as Range<UInt64>) func leadersAndReplicasAreSpreadEvenly(_ seed: UInt64) throws {
    let placed = try self.place(self.brokers([nil, nil, nil, nil]), count: 40, factor: 3, seed: seed)
    for id in 0..<4 as Range<Int32> {
      #expect(placed.count { $0[0] == NodeID(id) } == 10)
      #expect(placed.count { $0.contains(NodeID(id)) } == 30)
    }
    #expect(placed.allSatisfy { Set($0).count == 3 })
  }

  @Test(arguments: 0..<20 as Range<UInt64>) func everyRackGetsAReplica(_ seed: UInt64) throws {
    let racks = ["a", "a", "b", "b", "c", "c"]
    let placed = try self.place(self.brokers(racks), count: 60, factor: 3, seed: seed)
    for replicas in placed { #expect(Set(replicas.map { racks[Int($0.rawValue)] }).count == 3) }
    for id in 0..<6 as Range<Int32> {
      #expect(placed.count { $0[0] == NodeID(id) } == 10)
      #expect(placed.count { $0.contains(NodeID(id)) } == 30)
    }
  }

  /// Two racks of two: a stripe over racks alone would have the same broker of a rack lead every time.
  @Test func leadersTakeTurnsWithinARack() throws {
    let placed = try self.place(self.brokers(["a", "a", "b", "b"]), count: 8, factor: 2)
    for id in 0..<4 as Range<Int32> { #expect(placed.count { $0[0] == NodeID(id) } == 2) }
  }

  @Test func fencedBrokersComeLastAndNeverLead() throws {
    let brokers = self.brokers(["a", "a", "b"], fenced: [0])
    for replicas in try self.place(brokers, count: 20, factor: 2) { #expect(!replicas.contains(NodeID(0))) }
    for replicas in try self.place(brokers, count: 20, factor: 3) { #expect(replicas[2] == NodeID(0)) }
    let rackFenced = self.brokers(["a", "b", "b"], fenced: [0])
    for replicas in try self.place(rackFenced, count: 20, factor: 3) { #expect(replicas[0] != NodeID(0)) }
  }

  @Test func differentSeedsBeginElsewhere() throws {
    let starts = try (0..<20 as Range<UInt64>).map { try self.place(self.brokers([nil, nil, nil]), count: 1, factor: 1, seed: $0)[0][0] }
    #expect(Set(starts).count == 3)
  }

  @Test func whatCannotBePlaced() throws {
    #expect(throws: ApiError.self) { try self.place(self.brokers([nil]), count: 1, factor: 2) }
    #expect(throws: ApiError.self) { try self.place(self.brokers([nil], fenced: [0]), count: 1, factor: 1) }
    #expect(throws: ApiError.self) { try self.place([], count: 1, factor: 1) }
  }
}

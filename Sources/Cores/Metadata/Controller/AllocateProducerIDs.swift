package import Model

/// Gives a broker the next block of producer ids. What a broker does not use of its block is never given out again.
package struct AllocateProducerIDs: ControllerRequest {
  package static let blockCount: Int64 = 1000

  package struct Block: Sendable, Hashable {
    package var first: ProducerID
    package var count: Int64
  }

  package var nodeID: NodeID
  package var epoch: BrokerEpoch
  package init(nodeID: NodeID, epoch: BrokerEpoch) { (self.nodeID, self.epoch) = (nodeID, epoch) }
  package typealias Response = Block

  package func decide(on state: ControllerMachine, nextOffset: Offset) throws(ApiError) -> Decision<Block> {
    _ = try checkedBroker(self.nodeID, self.epoch, in: state.image)
    let first = state.image.nextProducerID
    let (next, overflow) = first.rawValue.addingReportingOverflow(Self.blockCount)
    if overflow { throw ApiError(.unknownServerError, "No producer ids are left: the next block would pass the largest 64-bit number.") }
    return Decision(
      [.producerIDs(broker: self.nodeID, epoch: self.epoch, next: ProducerID(next))], Block(first: first, count: Self.blockCount))
  }
}

package import Model

/// Fences a broker that is gone. What it led is led by others once this is committed, so it is refused while the broker may still
/// lead by its lease (`LeaseRule`): unless its session has ended or its process is known to be dead nothing is done.
package struct FenceBroker: ControllerRequest {
  package var nodeID: NodeID
  package var epoch: BrokerEpoch
  package var cause: FencingCause
  package init(nodeID: NodeID, epoch: BrokerEpoch, cause: FencingCause = .sessionEnded) {
    (self.nodeID, self.epoch, self.cause) = (nodeID, epoch, cause)
  }

  /// Whether it is fenced now.
  package typealias Response = Bool

  package func decide(on state: ControllerMachine, nextOffset: Offset) throws(ApiError) -> Decision<Bool> {
    let broker = try checkedBroker(self.nodeID, self.epoch, in: state.image)
    if broker.isFenced { return Decision([], true) }
    if state.sessions.isLive(self.nodeID, self.epoch) { return Decision([], false) }
    return Decision(fencing(broker, .brokerFenced, self.cause, on: state), true, isDivisible: true)
  }
}

/// Makes the cluster forget a broker that will not come back: it leaves every ISR and ELR, and reassignments no longer wait for it.
///
/// Kafka does so to a broker that is alive, too, and lets others lead while it still does. Here it is refused (INVALID_REQUEST) until the
/// broker has stopped.
package struct UnregisterBroker: ControllerRequest {
  package var nodeID: NodeID
  package init(nodeID: NodeID) { self.nodeID = nodeID }
  package typealias Response = Void

  package func decide(on state: ControllerMachine, nextOffset: Offset) throws(ApiError) -> Decision<Void> {
    guard let broker = state.image.broker(self.nodeID) else {
      throw ApiError(.brokerIdNotRegistered, "Broker \(self.nodeID) is not registered.")
    }
    if !broker.isFenced && state.sessions.isLive(self.nodeID, broker.epoch) {
      throw ApiError(.invalidRequest, "Broker \(self.nodeID) is alive and may lead partitions. Stop it first, then unregister it.")
    }
    var planner = PartitionPlanner(state)
    let isThere = planner.mayLead
    planner.mayLead = { $0 != self.nodeID && isThere($0) }
    var records: [MetadataChange] = []
    for id in state.index.assigned(self.nodeID) {
      guard var plan = planner.plan(id, .brokerUnregistered) else { continue }
      plan.uncleanReplica = self.nodeID
      plan.inSyncReplicas.removeAll { $0 == self.nodeID }
      plan.giveUp([self.nodeID])
      if let change = plan.change() { records.append(.partitionChange(id, change)) }
    }
    return Decision(records + [.unregisterBroker(self.nodeID, epoch: broker.epoch)], (), isDivisible: true)
  }
}

/// Goes on with reassignments whose targets have been gone for so long that they are not waited for any more.
package struct GiveUpReassignmentTargets: ControllerRequest {
  package var brokers: [NodeID]
  package init(_ brokers: [NodeID]) { self.brokers = brokers }
  package typealias Response = Void

  package func decide(on state: ControllerMachine, nextOffset: Offset) throws(ApiError) -> Decision<Void> {
    let gone = self.brokers.filter { !state.image.isActive($0) }
    var planner = PartitionPlanner(state)
    var records: [MetadataChange] = []
    for id in state.index.reassigning {
      guard var plan = planner.plan(id, .reassignmentCancelled) else { continue }
      if !plan.addingReplicas.contains(where: { gone.contains($0) }) { continue }
      plan.giveUp(gone)
      if let change = plan.change() { records.append(.partitionChange(id, change)) }
    }
    return Decision(records, (), isDivisible: true)
  }
}

package import Base
package import Model

/// A broker says that it is alive, how far it has read the metadata, and what it wants: to be fenced, to be unfenced, to go.
///
/// ```
/// fenced --knows of its registration and fencing--> unfenced --wants to go--> in shutdown --leads nothing, all have read it--> may go
/// ```
///
/// `ControllerMachine.heard(_:now:into:)` notes the sign of life; this decides what follows from it.
package struct BrokerHeartbeat: ControllerRequest {
  package var nodeID: NodeID
  package var epoch: BrokerEpoch
  /// The last metadata record it has applied.
  package var metadataOffset: Offset
  package var wantsFence: Bool
  package var wantsShutdown: Bool
  /// Log directories that failed since the broker registered.
  package var offlineDirectories: [KafkaUUID]

  package init(
    nodeID: NodeID, epoch: BrokerEpoch, metadataOffset: Offset, wantsFence: Bool = false, wantsShutdown: Bool = false,
    offlineDirectories: [KafkaUUID] = []
  ) {
    self.nodeID = nodeID
    self.epoch = epoch
    self.metadataOffset = metadataOffset
    self.wantsFence = wantsFence
    self.wantsShutdown = wantsShutdown
    self.offlineDirectories = offlineDirectories
  }

  package struct Answer: Sendable, Hashable {
    /// It has read its own registration, and that it was fenced if it was.
    package var isCaughtUp: Bool
    package var isFenced: Bool
    /// It may stop now.
    package var shouldShutDown: Bool
  }
  package typealias Response = Answer

  package func decide(on state: ControllerMachine, nextOffset: Offset) throws(ApiError) -> Decision<Answer> {
    let broker = try checkedBroker(self.nodeID, self.epoch, in: state.image)
    let isCaughtUp = self.metadataOffset >= state.catchUpOffset(of: self.nodeID)
    let failed = broker.logDirectories.filter { self.offlineDirectories.contains($0) }
    let hasNone = !failed.isEmpty && failed.count == broker.logDirectories.count
    var records: [MetadataChange] = []
    var answer = Answer(isCaughtUp: isCaughtUp, isFenced: broker.isFenced, shouldShutDown: false)
    if broker.isFenced {
      if self.wantsShutdown {
        answer.shouldShutDown = true
        // The partitions of which it has the only replica were left to it when it registered.
        var planner = PartitionPlanner(state)
        records = planner.remove(self.nodeID, from: state.index.inSyncOrLed(self.nodeID), .controlledShutdown)
      } else if !self.wantsFence && !hasNone && (isCaughtUp || mutates(state.mutant, .unfencedWithoutMetadata)) {
        records = unfencing(broker, on: state)
        answer.isFenced = false
      }
    } else if hasNone {
      // It holds nothing any more that could be read or written. Kafka's brokers end without a word then.
      records = fencing(broker, .logDirectoryFailed, .directoriesFailed, on: state)
      answer.isFenced = true
      answer.shouldShutDown = self.wantsShutdown
    } else if self.wantsFence {
      records = fencing(broker, .brokerFenced, .ownWish, on: state)
      answer.isFenced = true
      answer.shouldShutDown = self.wantsShutdown
    } else if self.wantsShutdown || broker.isInControlledShutdown {
      records = self.shutdown(broker, on: state, &answer)
    }
    if !answer.isFenced { records += self.offline(broker, failed, on: state, without: records) }
    return Decision(records, answer, isDivisible: true)
  }

  /// The leaders go first. Only once nothing is led, and everybody has read of it, may the broker go: until then clients and followers
  /// still turn to it.
  private func shutdown(_ broker: BrokerRegistration, on state: ControllerMachine, _ answer: inout Answer) -> [MetadataChange] {
    let led = state.index.ledCount(self.nodeID)
    let mayGo = !broker.isInControlledShutdown || self.everyoneHasRead(state)
    if (led == 0 && mayGo) || mutates(state.mutant, .shutdownWhileLeading) {
      answer.isFenced = true
      answer.shouldShutDown = true
      return fencing(broker, .controlledShutdown, .controlledShutdown, on: state)
    }
    // In a shutdown that is under way, what a change that was cut off has left.
    var planner = PartitionPlanner(state)
    let moves = planner.remove(self.nodeID, from: state.index.inSyncOrLed(self.nodeID), .controlledShutdown)
    if broker.isInControlledShutdown { return moves }
    var change = BrokerRegistrationChange(self.nodeID, epoch: self.epoch)
    change.beginsControlledShutdown = true
    return moves + [.brokerRegistrationChange(change)]
  }

  private func everyoneHasRead(_ state: ControllerMachine) -> Bool {
    guard let needed = state.shutdownOffset(of: self.nodeID) else { return true }
    return state.image.brokers.allSatisfy { other in
      other.nodeID == self.nodeID || !other.isActive || state.sessions.metadataOffset(other.nodeID, other.epoch) >= needed
    }
  }

  private func offline(
    _ broker: BrokerRegistration, _ failed: [KafkaUUID], on state: ControllerMachine, without planned: [MetadataChange]
  ) -> [MetadataChange] {
    // A broker that was unfenced just now is asked again at its next heartbeat.
    if failed.isEmpty || !planned.isEmpty { return [] }
    let affected = state.index.inSyncOrLed(self.nodeID).filter { id in
      state.image.partition(id).map { failed.contains($0.directory(of: self.nodeID)) } ?? false
    }
    var planner = PartitionPlanner(state)
    var change = BrokerRegistrationChange(self.nodeID, epoch: self.epoch)
    change.logDirectories = broker.logDirectories.filter { !failed.contains($0) }
    return planner.remove(self.nodeID, from: affected, .logDirectoryFailed) + [.brokerRegistrationChange(change)]
  }
}

extension ControllerMachine {
  /// Notes a heartbeat, before it is decided on. One that names another epoch than the present one is no sign of life.
  package mutating func heard(_ heartbeat: BrokerHeartbeat, now: Instant, into effects: inout [BrokerSessions.Effect]) {
    guard self.image.broker(heartbeat.nodeID)?.epoch == heartbeat.epoch else { return }
    // Nobody has read what is not written yet.
    let offset = min(heartbeat.metadataOffset, self.image.offset)
    self.sessions.handle(.heartbeat(heartbeat.nodeID, heartbeat.epoch, metadataOffset: offset), now: now, into: &effects)
  }
}

/// The broker leaves every ISR, others lead where it led, and last it is fenced: whoever takes over in between finds it unfenced and
/// does the rest.
func fencing(
  _ broker: BrokerRegistration, _ reason: PartitionChangeReason, _ cause: FencingCause, on state: ControllerMachine
) -> [MetadataChange] {
  var planner = PartitionPlanner(state)
  var change = BrokerRegistrationChange(broker.nodeID, epoch: broker.epoch)
  change.isFenced = true
  change.cause = cause
  return planner.remove(broker.nodeID, from: state.index.inSyncOrLed(broker.nodeID), reason) + [.brokerRegistrationChange(change)]
}

/// The broker is unfenced, and then leads what nobody led and it may lead.
func unfencing(_ broker: BrokerRegistration, on state: ControllerMachine) -> [MetadataChange] {
  var change = BrokerRegistrationChange(broker.nodeID, epoch: broker.epoch)
  change.isFenced = false
  var planner = PartitionPlanner(state)
  let isThere = planner.mayLead
  planner.mayLead = { $0 == broker.nodeID && !broker.isInControlledShutdown || isThere($0) }
  if mutates(state.mutant, .unfencingElectsNobody) { return [.brokerRegistrationChange(change)] }
  return [.brokerRegistrationChange(change)] + electing(state.index.leaderless, .brokerUnfenced, &planner, on: state)
}

/// A leader for each of `partitions` that can have one without loss.
func electing(
  _ partitions: [TopicIDPartition], _ reason: PartitionChangeReason, _ planner: inout PartitionPlanner, on state: ControllerMachine
) -> [MetadataChange] {
  partitions.compactMap { id in
    // Without a new leader nothing is changed: who is in the ISR and the ELR was settled when the last one went.
    guard let change = planner.plan(id, reason)?.change(), let leader = change.leader, leader != .none else { return nil }
    return .partitionChange(id, change)
  }
}

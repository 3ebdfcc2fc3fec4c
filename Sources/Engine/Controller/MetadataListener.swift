import Base
package import Metadata
package import Model

/// Who acts on the metadata: the broker of this node. Calls come one at a time on the node's control line, with no lock held: the metadata
/// in the order of the log, and before the request that caused the change is answered.
package protocol MetadataListener: AnyObject, Sendable {
  /// `image` is committed; `delta` is what changed since the last call. The first call, when the node has caught up with the quorum, has
  /// everything.
  func metadataChanged(_ image: MetadataImage, _ delta: MetadataDelta)
  /// Something the operator should know.
  func controllerEvent(_ event: ControllerEvent)
  /// What is known of the quorum's leader changed.
  func quorumLeaderChanged(_ leader: QuorumLeader)
}

/// Who leads the quorum, as far as this node knows.
package struct QuorumLeader: Hashable, Sendable, CustomStringConvertible {
  /// Nil: nobody, or nobody that this node has heard of.
  package var node: NodeID?
  /// The quorum's; -1 before the first.
  package var epoch: LeaderEpoch
  package init(node: NodeID?, epoch: LeaderEpoch) { (self.node, self.epoch) = (node, epoch) }
  package var description: String { "\(self.node.map { "node \($0)" } ?? "nobody") in epoch \(self.epoch)" }
}

/// What an operator should hear of, once.
package enum ControllerEvent: Sendable {
  /// The metadata is known as far as it was committed when this node joined the quorum. `recordCount`: of the log, behind the snapshot.
  case loaded(recordCount: Int, image: MetadataImage)
  /// The metadata was taken from the leader's snapshot, as records before its end are not there any more.
  case snapshotLoaded(endOffset: Offset)
  case snapshotTaken(endOffset: Offset, took: Duration)
  /// There is none, and the log grows until one succeeds.
  case snapshotFailed(MetadataLogError)
  /// What snapshots replaced takes up room until the next one.
  case cleanUpFailed(MetadataLogError)

  case quorumLeaderChanged(QuorumLeader)
  /// This node decides from now on. `took`: since it won the election.
  case becameActive(epoch: LeaderEpoch, took: Duration)
  /// This node decides no more; `unanswered` requests were refused with an outcome that is not known.
  case steppedDown(epoch: LeaderEpoch, unanswered: Int)

  // Told by the active controller alone, once they are committed.
  case brokerRegistered(NodeID, BrokerEpoch, incarnationID: KafkaUUID)
  /// `cause`: why the controller fenced it of its own accord; nil where the broker asked for it, by its registration or by shutting down.
  case brokerFenced(NodeID, BrokerEpoch, cause: FencingCause?)
  case brokerUnfenced(NodeID, BrokerEpoch)
  case brokerShutsDown(NodeID, BrokerEpoch)
  case brokerUnregistered(NodeID)
  /// The leader or the ISR of a partition changed, or it is new.
  case partitionChanged(TopicPartition, PartitionTransition)
  /// Nobody of those who might lead the partition, though not without loss, answered.
  case uncleanElectionGaveUp(TopicIDPartition)

  /// Changes wait to be committed, which is tried again and again.
  case commitDelayed(MetadataLogError)
  /// This node cannot go on: its metadata would be wrong. The process should end.
  case failed(ControllerLoadError)
}

extension ControllerEvent: CustomStringConvertible {
  package var description: String {
    switch self {
    case .loaded(let recordCount, let image):
      "metadata loaded: \(recordCount) records, \(image.topicCount) topics, \(image.partitionCount) partitions, offset \(image.offset)"
    case .snapshotLoaded(let end): "metadata taken from the leader's snapshot up to offset \(end)"
    case .snapshotTaken(let end, let took): "snapshot of the metadata up to offset \(end) written in \(took.wholeMilliseconds) ms"
    case .snapshotFailed(let error): "no snapshot of the metadata could be written: \(error)"
    case .cleanUpFailed(let error): "what snapshots of the metadata replaced could not be removed: \(error)"
    case .quorumLeaderChanged(let leader): "quorum led by \(leader)"
    case .becameActive(let epoch, let took): "active controller of epoch \(epoch), after \(took.wholeMilliseconds) ms"
    case .steppedDown(let epoch, let unanswered):
      "no longer the active controller of epoch \(epoch); \(unanswered) requests have no outcome yet"
    case .brokerRegistered(let id, let epoch, let incarnation):
      "broker \(id) registered with epoch \(epoch), incarnation \(incarnation)"
    case .brokerFenced(let id, let epoch, let cause):
      switch cause {
      case .sessionEnded: "broker \(id) of epoch \(epoch) fenced: no heartbeat for a whole session"
      case .processDead: "broker \(id) of epoch \(epoch) fenced: its process is dead"
      case .ownWish: "broker \(id) of epoch \(epoch) fenced: it asked for it"
      case .controlledShutdown: "broker \(id) of epoch \(epoch) has shut down in an orderly way"
      case .directoriesFailed: "broker \(id) of epoch \(epoch) fenced: its log directory failed"
      case nil: "broker \(id) of epoch \(epoch) fenced"
      }
    case .brokerUnfenced(let id, let epoch): "broker \(id) of epoch \(epoch) unfenced"
    case .brokerShutsDown(let id, let epoch): "broker \(id) of epoch \(epoch) is in controlled shutdown"
    case .brokerUnregistered(let id): "broker \(id) unregistered"
    case .partitionChanged(let partition, let change):
      "\(partition): leader \(change.after.leader) in epoch \(change.after.leaderEpoch), in sync \(change.after.inSyncReplicas)"
        + " (\(change.reason))"
    case .uncleanElectionGaveUp(let partition): "\(partition): no replica answered, so that no leader could be elected"
    case .commitDelayed(let error): "changes of the metadata wait to be committed: \(error)"
    case .failed(let error): "the controller cannot go on: \(error)"
    }
  }
}

import Metadata
import Model
import NIOCore
import Raft
import Wire

// The one place where Raft's words meet Kafka's: terms are leader epochs, indexes are offsets, and everything concerns partition 0 of
// `__cluster_metadata` (KIP-595). One file for each pair of messages, in both directions.

/// Why a message of the quorum could not be read: what is wrong with it, for the log.
struct QuorumMessageError: Error, Hashable {
  var reason: String
  init(_ reason: String) { self.reason = reason }

  static let otherTopic = QuorumMessageError("it does not concern partition 0 of \(TopicName.clusterMetadata), and nothing else")
}

/// The quorum's one partition.
enum QuorumTopic {
  static let name = TopicName.clusterMetadata
  static let id = KafkaUUID.metadataTopic
  static let partition: Int32 = 0
}

extension QuorumStatus {
  /// Errors that concern the request as a whole stand at its top in Kafka's answers, the others at the partition.
  var isTopLevel: Bool { self.error == .inconsistentClusterId || self.error == .invalidRequest }

  var topLevelError: ErrorCode { self.isTopLevel ? self.error : .none }
  var partitionError: ErrorCode { self.isTopLevel ? .none : self.error }

  /// From the fields of an answer.
  init(_ error: ErrorCode, leader: Int32, epoch: Int32, _ endpoint: Address?) {
    self.init(error: error, term: Term(max(0, epoch)), leader: leader < 0 ? nil : NodeID(leader), leaderAddress: endpoint)
  }

  var leaderField: Int32 { self.leader?.rawValue ?? -1 }
  var termField: Int32 { self.term.rawValue }
}


extension ReplicaKey {
  /// Nil where the fields name nobody.
  init?(field node: Int32, _ directory: KafkaUUID) {
    guard node >= 0 else { return nil }
    self.init(NodeID(node), directory)
  }
}

extension LogEnd {
  init(epoch: Int32, offset: Int64) { self.init(term: Term(epoch), index: LogIndex(offset)) }
}

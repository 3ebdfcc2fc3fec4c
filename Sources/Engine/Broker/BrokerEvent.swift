package import Controller
import Environment
package import Metadata
package import Model
package import Replication
package import Storage

/// Where the broker reports what it did. Called from any thread, at times with a lock held: it must be quick and must not call back.
package protocol BrokerEvents: Sendable {
  func record(_ event: BrokerEvent)
}

/// A state change worth explaining to the person who runs the broker, with its cause.
package enum BrokerEvent: Sendable {
  /// A log directory was opened; its partitions are being loaded.
  case logDirectoryOpened(path: String, partitionCount: Int, wasClosedCleanly: Bool)
  /// Something in a log directory was found or repaired.
  case storageNotice(StorageNotice)
  /// A log was not closed cleanly, and what may be torn of it was read again.
  case logRecovered(RecoveryReport)
  /// All partitions are loaded and the broker serves.
  case started(node: NodeID, clusterID: String, partitionCount: Int, took: Duration)
  case partitionCreated(TopicPartition, topicID: KafkaUUID)
  case partitionDeleted(TopicPartition, topicID: KafkaUUID)
  /// A directory of a partition that the metadata does not know. It is left as it is and not served.
  case strayPartition(path: String, reason: String)
  /// This broker leads the partition; its own epoch begins at `logEndOffset`.
  case becameLeader(TopicPartition, LeaderEpoch, logEndOffset: Offset, highWatermark: Offset)
  /// What a partition's replica tells of itself: changes of the in-sync replicas, whom it follows, what it cut.
  case replica(TopicPartition, ReplicationEvent)
  /// The fetch session with a broker that leads something for us was lost, and is opened anew.
  case fetchSessionLost(leader: NodeID, ErrorCode)
  /// The partition is not served. If it could not be opened because the disk refused, that is tried again; otherwise it stays so until
  /// the broker is started again.
  case partitionOffline(TopicPartition, cause: StorageError)
  /// The disk of the log directory failed, and with it all its partitions. The controller is told, then the process ends.
  case logDirectoryFailed(path: String, cause: StorageError)
  /// A partition that could not be opened has been opened after all.
  case partitionBackOnline(TopicPartition)
  /// A flush found no descriptor for its files and is tried again: said once until one succeeds.
  case flushDeferred(TopicPartition, cause: StorageError)
  /// The disk refused an append and the log is as before: said once until an append succeeds.
  case appendRefused(TopicPartition, cause: StorageError)
  /// A read that found no descriptor is said once until one succeeds.
  case readFailed(TopicPartition, Offset, cause: StorageError)
  /// The start of a log moved forward.
  case recordsDeleted(TopicPartition, logStartOffset: Offset, cause: DeletionCause)
  case topicConfigChanged(topic: String)
  /// A client changes how much a logger says, until the process ends.
  case logLevelChanged(logger: String, LogLevel, clientID: String?)
  /// A topic has a config that cannot be used; it counts as not set.
  case topicConfigIgnored(topic: String, ConfigError)
  case checkpointFailed(logDirectory: String, cause: StorageError)
  /// Work in the background failed; it will be tried again.
  case backgroundWorkFailed(what: String, cause: StorageError)
  /// A connection is closed because of what it sent.
  case connectionRefused(client: ClientContext, clientID: String?, reason: String)
  /// Another node, or what takes itself for one, was refused: once for each error in a row.
  case controlRequestRefused(client: ClientContext, node: NodeID, api: String, error: ErrorCode)
  /// The node has no quorum yet: too few of its controllers are there, or they take it for one of another cluster.
  case waitingForQuorum(node: NodeID)
  case membership(BrokerLifecycleEvent)
  /// The controller knows this broker from now on, under this epoch.
  case registered(BrokerEpoch)
  /// The broker has left the cluster, or gave up waiting for its leave.
  case leftCluster(BrokerLeaving)
  /// The process cannot go on and should end.
  case failed(BrokerStartError)
  case controller(ControllerEvent)
  case metadataCloseFailed(MetadataLogError)
  case shutdownBegan
  case shutdownEnded(took: Duration)

  package enum DeletionCause: Sendable, Hashable {
    case retention
    case deleteRecords(clientID: String?)
  }
}

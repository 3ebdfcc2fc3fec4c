import Environment
import Model

/// What the partitions of one broker share.
struct PartitionSurroundings<Env: Environment>: Sendable {
  var node: NodeID
  var environment: Env
  var syncer: LogDirectorySyncer<Env>
  var deadlines: DeadlineQueue<Env>
  var lease: ServingLease
  var leaseWaits: LeaseWaits<Env>
  var proposals: InSyncProposals<Env>
  var fetchers: ReplicaFetchers<Env>
  var leaderThrottle: ReplicationThrottle<Env>
  var directoryHealth: LogDirectoryHealth
  var events: any BrokerEvents
}

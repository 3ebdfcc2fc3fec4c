import Base
import Environment
import Metadata
import Replication

extension ReplicaFetcherSettings {
  init(_ config: BrokerConfig) {
    let backoff = config.replicaFetchBackoff
    self.init(
      fetchersPerLeader: config.replicaFetchers, minBytes: config.replicaFetchBytesMin, maxBytes: config.replicaFetchResponseBytesMax,
      partitionBytesMax: config.replicaFetchBytesMax, maxWait: config.replicaFetchWaitMax, timeout: config.replicaSocketTimeout,
      backoff: min(backoff, .milliseconds(50)), backoffMax: backoff)
  }
}

extension Broker {
  /// What leaders take from the configuration.
  func leaderSettings(_ config: TopicConfig) -> LeaderSettings {
    LeaderSettings(
      flushPolicy: config.replicationFlushPolicy, minInSyncReplicas: config.minInSyncReplicas, lagTimeMax: self.config.replicaLagTimeMax)
  }

  /// What followers take from the configuration. `replica.fetch.backoff.ms` is the longest wait: the first tries come sooner, since after a
  /// change of leader the new one mostly knows of it within milliseconds.
  func followerSettings(_ config: TopicConfig) -> FollowerSettings {
    let backoff = self.config.replicaFetchBackoff
    return FollowerSettings(
      flushPolicy: config.replicationFlushPolicy, backoff: min(backoff, .milliseconds(20)), backoffMax: backoff,
      allowsUncleanTruncation: config.uncleanLeaderElection)
  }
}

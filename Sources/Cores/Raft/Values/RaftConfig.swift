import Model

/// Who this replica is and how patient. Durations are Kafka's `controller.quorum.*` settings under their names there.
package struct RaftConfig: Hashable, Sendable {
  /// This replica. Its directory is zero only if it does not know it.
  package var local: ReplicaKey
  /// Where this replica is reached; what a voter set ought to say of it.
  package var endpoints: [Endpoint]
  package var versions = SupportedVersions(.staticVoters, .dynamicVoters)
  /// Whether this process may ever be a voter: it runs the controller role. Brokers observe and neither vote nor stand.
  package var isController: Bool
  /// The listener of the quorum: peers are called at their endpoint of this name.
  package var listener: String
  package var clusterID: String
  /// `controller.quorum.bootstrap.servers`: whom to ask for the leader when no voter is known or answers.
  package var bootstrapServers: [Address] = []
  /// `controller.quorum.auto.join.enable`: a controller that is no voter asks to become one.
  package var joinsAutomatically = false

  /// `controller.quorum.election.timeout.ms`: how long a round of (pre-)votes may take; drawn from here up to twice as long.
  package var electionTimeout: Duration = .milliseconds(1000)
  /// `controller.quorum.election.backoff.max.ms`
  package var electionBackoffMax: Duration = .milliseconds(1000)
  /// `controller.quorum.fetch.timeout.ms`: a leader that was not reached for so long is given up.
  package var fetchTimeout: Duration = .milliseconds(2000)
  /// `controller.quorum.request.timeout.ms`
  package var requestTimeout: Duration = .milliseconds(2000)
  /// `controller.quorum.retry.backoff.ms`
  package var retryBackoff: Duration = .milliseconds(20)
  /// How long a leader may let a fetch wait for something to tell.
  package var fetchWaitMax: Duration = .milliseconds(500)
  /// Bytes of entries asked for in one fetch.
  package var fetchBytesMax: Int32 = 8 << 20
  /// Bytes asked for in one FetchSnapshot.
  package var snapshotChunkBytesMax: Int32 = 8 << 20
  /// How long a leader remembers an observer that fetches no more.
  package var observerSession: Duration = .seconds(300)

  /// Observers a leader keeps track of; more are served all the same.
  package var observersMax = 4096
  /// Fetches that may wait at a leader; more are answered at once.
  package var waitingFetchesMax = 8192
  /// Reads that may wait for confirmation; more are refused.
  package var waitingReadsMax = 65536
  /// Entries a leader takes beyond the high watermark; more are refused.
  package var uncommittedEntriesMax: Int64 = 1 << 20

  package init(local: ReplicaKey, endpoints: [Endpoint], isController: Bool, listener: String, clusterID: String) {
    (self.local, self.endpoints, self.isController) = (local, endpoints, isController)
    (self.listener, self.clusterID) = (listener, clusterID)
  }

  /// A leader that a majority has not fetched from for so long steps down: half as long again as a follower's patience.
  package var checkQuorumTimeout: Duration { self.fetchTimeout * 3 / 2 }
  /// What a voter set ought to say of this replica.
  package var voter: Voter { Voter(key: self.local, endpoints: self.endpoints, versions: self.versions) }
}

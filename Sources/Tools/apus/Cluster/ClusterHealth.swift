import KafkaClient

/// What several requests said of a cluster at about one moment.
struct ClusterState {
  var cluster: ClusterDescription
  /// Or why the quorum could not be described.
  var quorum: Result<QuorumDescription, KafkaError>
  var topics: [TopicDescription] = []
  /// `min.insync.replicas` by topic; empty where the cluster did not tell.
  var minInSyncReplicas: [String: Int] = [:]
  var reassignments: [TopicPartition: Reassignment] = [:]
  /// Milliseconds since 1970.
  var now: Int64
}

/// Counts, and a verdict.
struct ClusterHealth {
  /// The exit codes of `apus cluster status`.
  enum Verdict: Int32, Comparable {
    case healthy = 0, degraded = 1, unavailable = 2
    static func < (a: Verdict, b: Verdict) -> Bool { a.rawValue < b.rawValue }
  }
  struct Counts: Equatable {
    var total = 0
    /// Nobody leads them.
    var offline = 0
    var underReplicated = 0
    /// Fewer replicas in sync than `min.insync.replicas`: produce with acks=all is refused.
    var underMinInSync = 0
    var notPreferred = 0
    var reassigning = 0
  }

  private(set) var verdict = Verdict.healthy
  /// Why it is not healthy, worst first.
  var reasons: [String] { self.found.sorted { $0.verdict > $1.verdict }.map(\.text) }
  private var found: [(verdict: Verdict, text: String)] = []
  private(set) var counts = Counts()
  /// By broker: partitions that it leads, and that it holds.
  private(set) var leaders: [Int32: Int] = [:]
  private(set) var replicas: [Int32: Int] = [:]

  /// - Parameter lagMax: how long a voter may be behind, in milliseconds, before it is called lagging.
  init(_ state: ClusterState, lagMax: Int64) {
    self.judgeQuorum(state, lagMax)
    self.judgeBrokers(state)
    for topic in state.topics {
      for partition in topic.partitions { self.count(partition, of: topic.name, state) }
    }
    self.judgePartitions()
  }

  private mutating func note(_ verdict: Verdict, _ text: String) {
    self.verdict = max(self.verdict, verdict)
    self.found.append((verdict, text))
  }

  private mutating func judgeQuorum(_ state: ClusterState, _ lagMax: Int64) {
    switch state.quorum {
    case .failure(let error):
      // A cluster without KRaft has no quorum to tell of.
      if error.kind == .unsupportedVersion { return }
      self.note(.unavailable, "the quorum of controllers cannot be asked: \(error)")
    case .success(let quorum):
      guard quorum.leader != nil else {
        return self.note(.unavailable, "no controller is elected: nothing can be changed, and no leader chosen")
      }
      for voter in quorum.voters where quorum.isLagging(voter, now: state.now, lagMax: lagMax) {
        let since = quorum.behind(voter, now: state.now).map { " for \(HistoryWords.duration(milliseconds: $0))" } ?? ""
        let text =
          voter.lastCaughtUp == nil
          ? "voter \(voter.id) has not been heard of by the controller" : "voter \(voter.id) has been behind\(since)"
        self.note(.degraded, text)
      }
    }
  }

  private mutating func judgeBrokers(_ state: ClusterState) {
    let fenced = state.cluster.brokers.filter { $0.isFenced == true }.map(\.id)
    if !fenced.isEmpty { self.note(.degraded, "fenced: \(fenced.count == 1 ? "broker" : "brokers") \(ClusterText.list(fenced))") }
    if state.cluster.brokers.allSatisfy({ $0.isFenced == true }) { self.note(.unavailable, "no broker is alive") }
    let stopping = state.cluster.brokers.filter { $0.isInControlledShutdown == true && $0.isFenced != true }.map(\.id)
    if !stopping.isEmpty {
      self.note(.degraded, "shutting down: \(stopping.count == 1 ? "broker" : "brokers") \(ClusterText.list(stopping))")
    }
  }

  private mutating func count(_ partition: PartitionDescription, of topic: String, _ state: ClusterState) {
    self.counts.total += 1
    if let leader = partition.leader { self.leaders[leader, default: 0] += 1 } else { self.counts.offline += 1 }
    for replica in partition.replicas { self.replicas[replica, default: 0] += 1 }
    let reassignment = state.reassignments[TopicPartition(topic: topic, partition: partition.partition)]
    if reassignment != nil { self.counts.reassigning += 1 }
    let wanted = reassignment?.original.count ?? partition.replicas.count
    if partition.inSyncReplicas.count < wanted { self.counts.underReplicated += 1 }
    // More than there are replicas cannot be asked for.
    if let minimum = state.minInSyncReplicas[topic], partition.inSyncReplicas.count < min(minimum, wanted) {
      self.counts.underMinInSync += 1
    }
    if let leader = partition.leader, let preferred = partition.replicas.first, leader != preferred { self.counts.notPreferred += 1 }
  }

  private mutating func judgePartitions() {
    func partitions(_ count: Int) -> String { count == 1 ? "1 partition" : "\(Readable.count(count)) partitions" }
    if self.counts.offline > 0 { self.note(.unavailable, "\(partitions(self.counts.offline)) without a leader") }
    if self.counts.underMinInSync > 0 {
      self.note(.degraded, "\(partitions(self.counts.underMinInSync)) below min.insync.replicas: acks=all is refused there")
    }
    if self.counts.underReplicated > 0 { self.note(.degraded, "\(partitions(self.counts.underReplicated)) under-replicated") }
  }
}

extension QuorumDescription {
  /// What the times of replicas are counted from: the leader's clock, where it tells it.
  private func clock(_ now: Int64) -> Int64 {
    guard let leader = self.leader, let own = self.voters.first(where: { $0.id == leader })?.lastCaughtUp else { return now }
    return own
  }

  /// Records that a replica lacks; nil where that is not known.
  func lag(_ replica: QuorumReplica) -> Int64? {
    guard let leader = self.leader, let end = self.voters.first(where: { $0.id == leader })?.logEndOffset, let own = replica.logEndOffset
    else { return nil }
    return max(0, end - own)
  }

  /// Milliseconds since a replica last had all there was; nil: never, or not known.
  func behind(_ replica: QuorumReplica, now: Int64) -> Int64? { replica.lastCaughtUp.map { max(0, self.clock(now) - $0) } }

  /// Milliseconds since a replica last fetched; nil: never, or not known.
  func silent(_ replica: QuorumReplica, now: Int64) -> Int64? { replica.lastFetch.map { max(0, self.clock(now) - $0) } }

  func isLagging(_ voter: QuorumReplica, now: Int64, lagMax: Int64) -> Bool {
    if voter.id == self.leader { return false }
    // A cluster of before KIP-836 tells no times of anybody.
    if self.voters.allSatisfy({ $0.lastCaughtUp == nil }) { return voter.logEndOffset == nil }
    return self.behind(voter, now: now).map { $0 > lagMax } ?? true
  }
}

/// A broker of the cluster.
public struct BrokerDescription: Hashable, Sendable {
  public var id: Int32
  public var address: BrokerAddress
  public var rack: String?
  /// A fenced broker leads nothing. Nil: the cluster is too old to say, and names only those that are not.
  public var isFenced: Bool?
  /// It is handing over what it leads, to stop. Nil: the cluster does not say; Apache Kafka's do not.
  public var isInControlledShutdown: Bool?

  public init(
    id: Int32, address: BrokerAddress, rack: String? = nil, isFenced: Bool? = nil, isInControlledShutdown: Bool? = nil
  ) {
    self.id = id
    self.address = address
    self.rack = rack
    self.isFenced = isFenced
    self.isInControlledShutdown = isInControlledShutdown
  }
}

/// The cluster as one of its brokers describes it.
public struct ClusterDescription: Hashable, Sendable {
  public var id: String?
  /// The active controller, or in a KRaft cluster the broker that stands for it. Nil if there is none.
  public var controllerID: Int32?
  /// By id.
  public var brokers: [BrokerDescription]

  public init(id: String?, controllerID: Int32?, brokers: [BrokerDescription]) {
    (self.id, self.controllerID, self.brokers) = (id, controllerID, brokers)
  }
}

/// One replica of the metadata log, as the quorum's leader sees it.
public struct QuorumReplica: Hashable, Sendable {
  public var id: Int32
  /// Of its metadata log's directory (KIP-853), 22 characters of URL-safe base64. Nil: not known.
  public var directoryID: String?
  /// The end of its log; nil if the leader has not heard of it.
  public var logEndOffset: Int64?
  /// When the leader last heard a fetch of it, in milliseconds since 1970 by the leader's clock. Nil: never, or too old to say.
  public var lastFetch: Int64?
  /// When it last had everything that the leader had then. Nil: never, or too old to say.
  public var lastCaughtUp: Int64?

  public init(id: Int32, directoryID: String? = nil, logEndOffset: Int64?, lastFetch: Int64? = nil, lastCaughtUp: Int64? = nil) {
    self.id = id
    self.directoryID = directoryID
    self.logEndOffset = logEndOffset
    self.lastFetch = lastFetch
    self.lastCaughtUp = lastCaughtUp
  }
}

/// Where a voter listens for the others.
public struct QuorumEndpoint: Hashable, Sendable {
  public var node: Int32
  /// The name of the listener, such as `CONTROLLER`.
  public var listener: String
  public var address: BrokerAddress

  public init(node: Int32, listener: String, address: BrokerAddress) {
    (self.node, self.listener, self.address) = (node, listener, address)
  }
}

/// The quorum of controllers (KIP-595, KIP-836, KIP-853).
public struct QuorumDescription: Hashable, Sendable {
  /// The active controller. Nil: none is elected.
  public var leader: Int32?
  public var leaderEpoch: Int32
  /// Everything before this offset is committed. Nil: a new leader does not know yet.
  public var highWatermark: Int64?
  /// By id, the leader among them.
  public var voters: [QuorumReplica]
  /// Brokers and controllers that follow the log without a vote, by id.
  public var observers: [QuorumReplica]
  /// Empty where the cluster is too old to say.
  public var endpoints: [QuorumEndpoint]

  public init(
    leader: Int32?, leaderEpoch: Int32, highWatermark: Int64?, voters: [QuorumReplica], observers: [QuorumReplica] = [],
    endpoints: [QuorumEndpoint] = []
  ) {
    self.leader = leader
    self.leaderEpoch = leaderEpoch
    self.highWatermark = highWatermark
    self.voters = voters
    self.observers = observers
    self.endpoints = endpoints
  }
}

/// What kind of leader is to be elected.
public enum ElectionType: Hashable, Sendable {
  /// The first of the assigned replicas, if it is in sync. Nothing is lost.
  case preferred
  /// Whoever is there, where no replica in sync is. Records may be lost.
  case unclean
}

/// A partition that moves to other brokers.
public struct Reassignment: Hashable, Sendable {
  /// All that hold it or are to hold it now.
  public var replicas: [Int32]
  public var adding: [Int32]
  public var removing: [Int32]

  public init(replicas: [Int32], adding: [Int32], removing: [Int32]) {
    (self.replicas, self.adding, self.removing) = (replicas, adding, removing)
  }

  /// What it had before, and has again if it is cancelled.
  public var original: [Int32] { self.replicas.filter { !self.adding.contains($0) } }
  /// What it has when it is complete.
  public var target: [Int32] { self.replicas.filter { !self.removing.contains($0) } }
}

/// A change of a feature's level.
public struct FeatureUpdate: Hashable, Sendable {
  public enum Kind: Int8, Hashable, Sendable {
    case upgrade = 1
    /// Only if nothing is lost by it.
    case safeDowngrade = 2
    case unsafeDowngrade = 3
  }
  /// Such as `metadata.version`.
  public var name: String
  /// 0 removes it.
  public var level: Int16
  public var kind: Kind

  public init(_ name: String, level: Int16, kind: Kind = .upgrade) { (self.name, self.level, self.kind) = (name, level, kind) }
}

/// The end of one replica's log, as that replica tells it.
public struct ReplicaLogEnd: Hashable, Sendable {
  /// The offset that its next record would have.
  public var offset: Int64
  /// Of its last record; nil: it has none, or is too old to say.
  public var leaderEpoch: Int32?
  /// Up to where it knows its records to be committed. The true high watermark may be beyond. Nil: it did not tell.
  public var highWatermark: Int64?

  public init(offset: Int64, leaderEpoch: Int32?, highWatermark: Int64?) {
    (self.offset, self.leaderEpoch, self.highWatermark) = (offset, leaderEpoch, highWatermark)
  }
}

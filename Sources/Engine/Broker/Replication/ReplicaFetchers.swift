import Base
import Environment
import Metadata
import Model
import Replication
import Synchronization

/// What replica fetchers take from the configuration.
struct ReplicaFetcherSettings: Sendable {
  /// `num.replica.fetchers`: connections to each leader.
  var fetchersPerLeader: Int
  var minBytes: Int
  var maxBytes: Int
  var partitionBytesMax: Int
  var maxWait: Duration
  var timeout: Duration
  var backoff: Duration
  var backoffMax: Duration
}

/// Where a leader is reached, and which of its processes that is.
struct LeaderPlace: Sendable, Hashable {
  var address: NodeAddress
  var brokerEpoch: BrokerEpoch
}

/// Everything this broker fetches as a follower: one `ReplicaFetcher` for each broker that leads something for it, or several.
final class ReplicaFetchers<Env: Environment>: Sendable {
  private struct Place: Hashable { var leader: NodeID, index: Int }
  private struct State {
    var fetchers: [Place: ReplicaFetcher<Env>] = [:]
    /// Which fetcher has each partition.
    var places: [TopicIDPartition: Place] = [:]
    var leaders: [NodeID: LeaderPlace] = [:]
    var brokerEpoch = BrokerEpoch.unknown
    var isClosed = false
    /// Callers that will say when their turn is over: until then nothing is sent.
    var turns = 0
  }

  let node: NodeID
  let environment: Env
  let deadlines: DeadlineQueue<Env>
  let settings: ReplicaFetcherSettings
  /// What is copied here of replicas that are being moved.
  let throttle: ReplicationThrottle<Env>
  let events: any BrokerEvents
  /// Learns which leaders' connections end, and who is heard of.
  let doubts: LeaderDoubts<Env>
  private let state = Mutex(State())

  init(
    node: NodeID, environment: Env, deadlines: DeadlineQueue<Env>, settings: ReplicaFetcherSettings,
    throttle: ReplicationThrottle<Env>, events: any BrokerEvents, doubts: LeaderDoubts<Env>
  ) {
    self.node = node
    self.environment = environment
    self.deadlines = deadlines
    self.settings = settings
    self.throttle = throttle
    self.events = events
    self.doubts = doubts
  }

  // MARK: - What partitions say

  /// The partition asks `leader` for what comes after `position`.
  /// - Parameter isThrottled: it is behind, and the quota holds for it.
  func ready(_ partition: Partition<Env>, leader: NodeID, _ position: FetchPosition, notBefore: Instant?, isThrottled: Bool) {
    let place = Place(leader: leader, index: self.index(of: partition.key))
    while true {
      let (fetcher, old, isInTurn) = self.state.withLock { state -> (ReplicaFetcher<Env>?, ReplicaFetcher<Env>?, Bool) in
        if state.isClosed { return (nil, nil, false) }
        let old = state.places[partition.key].flatMap { $0 == place ? nil : state.fetchers[$0] }
        state.places[partition.key] = place
        return (self.fetcher(at: place, &state), old, state.turns > 0)
      }
      old?.remove(partition.key)
      if let old { self.closeIfIdle(old) }
      // One that closed just now, as it had no partitions, leaves its place to another.
      guard let fetcher, !fetcher.ready(partition, position, notBefore: notBefore, isThrottled: isThrottled, isInTurn: isInTurn)
      else { return }
    }
  }

  /// The partition asks nobody any more.
  func remove(_ partition: Partition<Env>) {
    let fetcher = self.state.withLock { state in state.places.removeValue(forKey: partition.key).flatMap { state.fetchers[$0] } }
    guard let fetcher else { return }
    fetcher.remove(partition.key)
    self.closeIfIdle(fetcher)
  }

  /// Asks the leader where the partition's log begins and ends there.
  func askOffsets(for partition: Partition<Env>, leader: NodeID, _ epoch: LeaderEpoch, notBefore: Instant?) {
    let delay = notBefore.map { $0 - self.environment.now() } ?? .zero
    if delay > .zero {
      _ = self.environment.schedule(after: delay) { [weak self] in
        self?.askOffsets(for: partition, leader: leader, epoch, notBefore: nil)
      }
      return
    }
    let place = Place(leader: leader, index: self.index(of: partition.key))
    let fetcher = self.state.withLock { state in state.isClosed ? nil : self.fetcher(at: place, &state) }
    fetcher?.askOffsets(for: partition, epoch)
  }

  private func fetcher(at place: Place, _ state: inout State) -> ReplicaFetcher<Env> {
    if let fetcher = state.fetchers[place] { return fetcher }
    let fetcher = ReplicaFetcher(
      leader: place.leader, index: place.index, place: state.leaders[place.leader], brokerEpoch: state.brokerEpoch, owner: self)
    state.fetchers[place] = fetcher
    return fetcher
  }

  /// The same in every process, so that what a broker fetches over which connection does not depend on chance.
  private func index(of key: TopicIDPartition) -> Int {
    let mixed = (key.topicID.high ^ key.topicID.low) &* 0x9E37_79B9_7F4A_7C15 &+ UInt64(UInt32(bitPattern: key.partition.rawValue))
    return Int(mixed % UInt64(self.settings.fetchersPerLeader))
  }

  /// A fetcher without partitions closes its connection, and its session with it.
  private func closeIfIdle(_ fetcher: ReplicaFetcher<Env>) {
    let place = Place(leader: fetcher.leader, index: fetcher.index)
    let isIdle = self.state.withLock { state in
      guard state.fetchers[place] === fetcher, fetcher.hasNoPartitions else { return false }
      state.fetchers[place] = nil
      return true
    }
    if isIdle { fetcher.close() }
  }

  /// The quota holds for the partition from now on, or no longer.
  func throttle(_ partition: Partition<Env>, _ isThrottled: Bool) {
    self.state.withLock { state in state.places[partition.key].flatMap { state.fetchers[$0] } }?.throttle(partition.key, isThrottled)
  }

  /// So much was copied that counts against the quota.
  func copied(_ byteCount: Int) {
    guard self.throttle.record(byteCount) else { return }
    self.quotaChanged()
    self.throttle.whenFree { [weak self] in self?.quotaChanged() }
  }

  /// - Parameter bytesPerSecond: nil: no limit.
  func limit(to bytesPerSecond: Int64?) {
    guard self.throttle.limit(to: bytesPerSecond) else { return }
    self.quotaChanged()
    self.throttle.whenFree { [weak self] in self?.quotaChanged() }
  }

  private func quotaChanged() {
    for fetcher in self.state.withLock({ Self.sorted($0) }) { fetcher.quotaChanged() }
  }

  // MARK: - What the broker says

  /// Everything that partitions ask for within `body` goes out together, once it has ended.
  func inOneTurn(_ body: () -> Void) {
    self.state.withLock { $0.turns += 1 }
    body()
    let fetchers = self.state.withLock { state in
      state.turns -= 1
      return Self.sorted(state)
    }
    for fetcher in fetchers { fetcher.turnEnded() }
  }

  /// Where the brokers are reached by other brokers. Those that are gone, or elsewhere now, lose their connection.
  func update(_ brokers: [BrokerRegistration], listener: String) {
    var leaders: [NodeID: LeaderPlace] = [:]
    for broker in brokers {
      guard let endpoint = broker.endpoint(listener) else { continue }
      let address = NodeAddress(host: endpoint.host, port: endpoint.port)
      leaders[broker.nodeID] = LeaderPlace(address: address, brokerEpoch: broker.epoch)
    }
    let fetchers = self.state.withLock { state in
      state.leaders = leaders
      return Self.sorted(state)
    }
    for fetcher in fetchers { fetcher.move(to: leaders[fetcher.leader]) }
  }

  /// Nothing is fetched before the broker has an incarnation that leaders can tell from an older one (KIP-903).
  func registered(_ epoch: BrokerEpoch) {
    let fetchers = self.state.withLock { state in
      state.brokerEpoch = epoch
      return Self.sorted(state)
    }
    for fetcher in fetchers { fetcher.registered(epoch) }
  }

  func close() {
    let fetchers = self.state.withLock { state in
      defer { (state.isClosed, state.fetchers, state.places) = (true, [:], [:]) }
      return Self.sorted(state)
    }
    for fetcher in fetchers { fetcher.close() }
  }

  var fetcherCount: Int { self.state.withLock { $0.fetchers.count } }

  private static func sorted(_ state: State) -> [ReplicaFetcher<Env>] {
    state.fetchers.sorted { ($0.key.leader, $0.key.index) < ($1.key.leader, $1.key.index) }.map { $0.value }
  }
}

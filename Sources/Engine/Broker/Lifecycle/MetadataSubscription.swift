import Controller
import Metadata
import Model
import Synchronization

/// Stands between the controller, which reports from its start on, and the broker, which cannot act before it has loaded its partitions.
///
/// Changes are acted on where they come, on the node's control line, which is the quickest for leaders to change. One that touches
/// many partitions goes to a lane instead, since making their files would hold up votes and heartbeats; so do those behind it, until the
/// lane has caught up.
final class MetadataSubscription: MetadataListener {
  private enum Work: Sendable {
    case change(MetadataImage, MetadataDelta)
    case action(@Sendable () -> Void)
  }
  private struct State: Sendable {
    /// Who acts on changes; nil until the broker is ready for them.
    var apply: (@Sendable (MetadataImage, MetadataDelta) -> Void)?
    /// What came before that. The first has everything.
    var backlog: [(MetadataImage, MetadataDelta)] = []
    /// The lane is at work; what comes meanwhile.
    var isOffloaded = false
    var offloaded: [Work] = []
    /// Who hears of the metadata while nobody acts on it.
    var observe: (@Sendable (MetadataImage) -> Void)?
    var leaderChanged: (@Sendable (QuorumLeader) -> Void)?
    var becameActive: (@Sendable () -> Void)?
  }
  private enum Course {
    case apply(@Sendable (MetadataImage, MetadataDelta) -> Void)
    case offload
    case queued
    case observe((@Sendable (MetadataImage) -> Void)?)
  }

  /// Partitions in a change that is worth a lane.
  private static var offloadedPartitionsMin: Int { 64 }

  private let events: any BrokerEvents
  /// A deliberate bug: see `EngineMutant.actsOnMetadataBackwards`.
  private let isBackwards: Bool
  private let offload: @Sendable (@escaping @Sendable () -> Void) -> Void
  private let state = Mutex(State())

  /// - Parameter offload: runs work that may block, one piece after the other.
  init(events: any BrokerEvents, isBackwards: Bool = false, offload: @escaping @Sendable (@escaping @Sendable () -> Void) -> Void) {
    (self.events, self.isBackwards, self.offload) = (events, isBackwards, offload)
  }

  func metadataChanged(_ image: MetadataImage, _ delta: MetadataDelta) {
    let course = self.state.withLock { state -> Course in
      guard let apply = state.apply else {
        state.backlog.append((image, delta))
        return .observe(state.observe)
      }
      if !state.isOffloaded, !Self.isLarge(delta) { return .apply(apply) }
      state.offloaded.append(.change(image, delta))
      defer { state.isOffloaded = true }
      return state.isOffloaded ? .queued : .offload
    }
    switch course {
    case .apply(let apply): apply(image, delta)
    case .offload: self.offload { self.workOff() }
    case .observe(let observe): observe?(image)
    case .queued: break
    }
  }

  private static func isLarge(_ delta: MetadataDelta) -> Bool {
    delta.changedPartitions.count + delta.removedTopics.reduce(0) { $0 + $1.partitions.count } >= Self.offloadedPartitionsMin
  }

  private func workOff() {
    while true {
      let (apply, work) = self.state.withLock { state in
        defer { state.offloaded = [] }
        state.isOffloaded = !state.offloaded.isEmpty
        return (state.apply, state.offloaded)
      }
      if work.isEmpty { return }
      for piece in work {
        switch piece {
        case .change(let image, let delta): apply?(image, delta)
        case .action(let body): body()
        }
      }
    }
  }

  /// Runs `body` once what has come so far is acted on: now, where nothing is on the lane.
  func afterChanges(_ body: @escaping @Sendable () -> Void) {
    let isNow = self.state.withLock { state in
      if state.isOffloaded { state.offloaded.append(.action(body)) }
      return !state.isOffloaded
    }
    if isNow { body() }
  }

  func controllerEvent(_ event: ControllerEvent) {
    self.events.record(.controller(event))
    if case .becameActive = event { self.state.withLock { $0.becameActive }?() }
  }

  func quorumLeaderChanged(_ leader: QuorumLeader) { self.state.withLock { $0.leaderChanged }?(leader) }

  /// - Parameters:
  ///   - observe: hears of every image until somebody is attached.
  ///   - leaderChanged: hears who leads the quorum.
  ///   - becameActive: this node's controller decides from now on.
  func listen(
    observe: @escaping @Sendable (MetadataImage) -> Void, leaderChanged: @escaping @Sendable (QuorumLeader) -> Void,
    becameActive: @escaping @Sendable () -> Void
  ) {
    self.state.withLock { ($0.observe, $0.leaderChanged, $0.becameActive) = (observe, leaderChanged, becameActive) }
  }

  /// Hands over what came after `offset`, and passes on what comes from now on.
  ///
  /// - Parameter offset: of the image that the broker was loaded from.
  func attach(after offset: Offset, _ apply: @escaping @Sendable (MetadataImage, MetadataDelta) -> Void) {
    while true {
      // Changes that come while the backlog is worked off join it, so that their order is kept.
      let backlog: [(MetadataImage, MetadataDelta)]? = self.state.withLock { state in
        defer { state.backlog = [] }
        if state.backlog.isEmpty {
          state.apply = apply
          return nil
        }
        return state.backlog
      }
      guard let backlog else { return }
      for (image, delta) in self.isBackwards ? backlog.reversed() : backlog where image.offset > offset { apply(image, delta) }
    }
  }
}

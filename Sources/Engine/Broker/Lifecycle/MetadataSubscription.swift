import Controller
import Metadata
import Model
import Synchronization

/// Stands between the controller, which reports from its start on, and the broker, which cannot act before it has loaded its partitions.
final class MetadataSubscription: MetadataListener {
  private struct State: Sendable {
    /// Who acts on changes; nil until the broker is ready for them.
    var apply: (@Sendable (MetadataImage, MetadataDelta) -> Void)?
    /// What came before that. The first has everything.
    var backlog: [(MetadataImage, MetadataDelta)] = []
    /// Who hears of the metadata while nobody acts on it.
    var observe: (@Sendable (MetadataImage) -> Void)?
    var leaderChanged: (@Sendable (QuorumLeader) -> Void)?
    var becameActive: (@Sendable () -> Void)?
  }
  private let events: any BrokerEvents
  private let state = Mutex(State())

  init(events: any BrokerEvents) { self.events = events }

  func metadataChanged(_ image: MetadataImage, _ delta: MetadataDelta) {
    let (apply, observe) = self.state.withLock { state in
      if state.apply == nil { state.backlog.append((image, delta)) }
      return (state.apply, state.observe)
    }
    if let apply { apply(image, delta) } else { observe?(image) }
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
      for (image, delta) in backlog where image.offset > offset { apply(image, delta) }
    }
  }
}

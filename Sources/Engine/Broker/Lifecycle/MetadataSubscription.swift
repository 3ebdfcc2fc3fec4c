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
  }
  private let events: any BrokerEvents
  private let state = Mutex(State())

  init(events: any BrokerEvents) { self.events = events }

  func metadataChanged(_ image: MetadataImage, _ delta: MetadataDelta) {
    let apply = self.state.withLock { state in
      if state.apply == nil { state.backlog.append((image, delta)) }
      return state.apply
    }
    apply?(image, delta)
  }

  func controllerEvent(_ event: ControllerEvent) { self.events.record(.controller(event)) }

  func quorumLeaderChanged(_ leader: QuorumLeader) {}

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

import Model
import Synchronization

/// Which refusals of other nodes' requests have been told already: who is refused goes on asking.
final class ControlRefusals: Sendable {
  private struct Key: Hashable {
    var node: Int32
    var api: Int16
  }
  private let told = Mutex<[Key: ErrorCode]>([:])
  /// Node ids come from the network; with more than so many, everything is told once more.
  private static let countMax = 1_000

  /// Whether `error` is worth telling and was not the last that was told of this node and request. A success forgets it.
  func isNews(_ error: ErrorCode, node: Int32, key: Int16) -> Bool {
    self.told.withLock { told in
      let place = Key(node: node, api: key)
      switch error {
      case .none:
        if !told.isEmpty { told[place] = nil }
        return false
      // What happens in good order, while leaders and incarnations change.
      case .notController, .notLeaderOrFollower, .fencedLeaderEpoch, .unknownLeaderEpoch, .duplicateBrokerRegistration, .requestTimedOut:
        return false
      default:
        if told[place] == error { return false }
        if told.count >= Self.countMax { told = [:] }
        told[place] = error
        return true
      }
    }
  }
}

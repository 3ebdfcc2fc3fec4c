package import Controller
package import Metadata
package import Replication
package import Storage

/// Why a broker cannot start.
package enum BrokerStartError: Error, Sendable, CustomStringConvertible {
  case config(ConfigError)
  case storage(StorageError)
  case controller(ControllerLoadError)
  /// To which cluster it belongs is not said.
  case identity(String)
  /// The cluster does not take this broker.
  case membership(BrokerLifecycleFailure)

  package var description: String {
    switch self {
    case .config(let error): error.description
    case .storage(let error): error.description
    case .controller(let error): error.description
    case .identity(let reason): reason
    case .membership(.registrationRefused(let error)): "the controller refused this broker: \(error)"
    case .membership(.directoriesFailed): "its log directory failed, and there is no other to serve from"
    case .membership(.registrationTimedOut(.noAnswer)):
      "no active controller answered within initial.broker.registration.timeout.ms"
    case .membership(.registrationTimedOut(.error(let error))):
      "the controller did not register this broker within initial.broker.registration.timeout.ms: \(error)"
    }
  }
}

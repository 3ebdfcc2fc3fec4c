package import Controller
package import Metadata
package import Model
package import Storage

/// Why a broker cannot start.
package enum BrokerStartError: Error, Sendable, CustomStringConvertible {
  case config(ConfigError)
  case storage(StorageError)
  case controller(ControllerLoadError)
  /// The controller refused the broker's registration.
  case registration(ApiError)

  package var description: String {
    switch self {
    case .config(let error): error.description
    case .storage(let error): error.description
    case .controller(let error): error.description
    case .registration(let error): "the controller refused this broker: \(error)"
    }
  }
}

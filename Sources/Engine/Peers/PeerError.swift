package import Environment
package import Model
package import Wire

/// Why a request to another node has no answer. Whether the other node acted on it is not known, except for `unsupported`.
package enum PeerError: Error, Hashable, Sendable, CustomStringConvertible {
  /// The connection could not be made, or ended while the request waited.
  case disconnected(LinkFailure)
  /// No answer came in time. The connection was closed, as what comes later on it could be taken for another answer.
  case timedOut
  /// The other node does not speak any version of the request that this one does.
  case unsupported(ApiKey)
  /// The other node refused to say which versions it speaks.
  case refusedVersions(ErrorCode)
  /// The answer could not be read.
  case malformed(WireError)

  package var description: String {
    switch self {
    case .disconnected(let failure): "\(failure)"
    case .timedOut: "no answer in time"
    case .unsupported(let key): "no common version of \(key)"
    case .refusedVersions(let code): "ApiVersions was answered with \(code)"
    case .malformed(let error): "the answer could not be read: \(error)"
    }
  }
}

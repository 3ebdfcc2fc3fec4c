/// Why a connection's bytes cannot be cut into requests. The connection is closed: there is no way to find the next frame.
package enum FramingError: Error, Hashable, Sendable, CustomStringConvertible {
  /// A length prefix below 1.
  case nonPositiveLength(Int32)
  /// A length prefix above `socket.request.max.bytes`.
  case tooLong(Int32, max: Int)
  /// The first bytes of the connection belong to another protocol.
  case otherProtocol(OtherProtocol)
  /// A read that was given the connection's own buffer never came back with it.
  case lostRead

  package enum OtherProtocol: String, Hashable, Sendable {
    case tls = "a TLS ClientHello on a PLAINTEXT listener: the client uses security.protocol=SSL, this listener does not"
    case http = "an HTTP request: this port speaks the Kafka protocol"
    case ssh = "an SSH client: this port speaks the Kafka protocol"
  }

  package var description: String {
    switch self {
    case .nonPositiveLength(let length): "a request of \(length) bytes: not the Kafka protocol, or the stream is out of step"
    case .tooLong(let length, let max): "a request of \(length) bytes, more than socket.request.max.bytes=\(max)"
    case .otherProtocol(let other): other.rawValue
    case .lostRead: "the system reported data and then gave none"
    }
  }

  /// What the length prefix of a connection's first frame gives away.
  static func recognise(_ prefix: UInt32) -> OtherProtocol? {
    switch prefix {
    // A handshake record of TLS 1.0 to 1.3: type 22, version 3.x, then the record's length, below 16 KiB.
    case 0x1603_0000...0x1603_04FF: .tls
    // "GET ", "POST", "HEAD", "PUT ", "OPTI", "DELE", "PATC", "CONN", "PRI " (HTTP/2).
    case 0x4745_5420, 0x504F_5354, 0x4845_4144, 0x5055_5420, 0x4F50_5449, 0x4445_4C45, 0x5041_5443, 0x434F_4E4E, 0x5052_4920: .http
    case 0x5353_482D: .ssh
    default: nil
    }
  }
}

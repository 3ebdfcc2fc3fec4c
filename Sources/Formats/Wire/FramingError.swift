/// Why a connection's bytes cannot be cut into frames. The connection is closed: there is no way to find the next one.
package enum FramingError: Error, Hashable, Sendable, CustomStringConvertible {
  /// A length prefix below 1.
  case nonPositiveLength(Int32)
  /// A length prefix above the limit: `socket.request.max.bytes` of a broker.
  case tooLong(Int32, max: Int)
  /// The first bytes of the connection belong to another protocol.
  case otherProtocol(OtherProtocol)
  /// A read that was given the connection's own buffer never came back with it.
  case lostRead

  package enum OtherProtocol: String, Hashable, Sendable {
    case tls = "TLS"
    case http = "HTTP"
    case ssh = "SSH"
  }

  package var description: String {
    switch self {
    case .nonPositiveLength(let length): "a frame of \(length) bytes: not the Kafka protocol, or the stream is out of step"
    case .tooLong(let length, let max): "a frame of \(length) bytes, more than the \(max) allowed"
    case .otherProtocol(let other): "\(other.rawValue), not the Kafka protocol"
    case .lostRead: "the system reported data and then gave none"
    }
  }

  /// What the length prefix of a connection's first frame gives away.
  static func recognise(_ prefix: UInt32) -> OtherProtocol? {
    switch prefix {
    // A handshake record of TLS 1.0 to 1.3: type 22, version 3.x, then the record's length, below 16 KiB; or an alert, type 21.
    case 0x1603_0000...0x1603_04FF, 0x1503_0000...0x1503_04FF: .tls
    // "GET ", "POST", "HEAD", "PUT ", "OPTI", "DELE", "PATC", "CONN", "PRI " (HTTP/2); "HTTP" of an answer.
    case 0x4745_5420, 0x504F_5354, 0x4845_4144, 0x5055_5420, 0x4F50_5449, 0x4445_4C45, 0x5041_5443, 0x434F_4E4E, 0x5052_4920,
      0x4854_5450: .http
    case 0x5353_482D: .ssh
    default: nil
    }
  }
}

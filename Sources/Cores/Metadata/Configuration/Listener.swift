/// One `NAME://host:port` of `listeners` or `advertised.listeners`.
package struct Listener: Sendable, Hashable, CustomStringConvertible {
  package var name: String
  /// Empty: all interfaces (in `listeners` only).
  package var host: String
  package var port: UInt16
  package var securityProtocol: SecurityProtocol

  package init(name: String, host: String, port: UInt16, securityProtocol: SecurityProtocol = .plaintext) {
    (self.name, self.host, self.port, self.securityProtocol) = (name, host, port, securityProtocol)
  }

  package var description: String { "\(self.name)://\(self.host.contains(":") ? "[\(self.host)]" : self.host):\(self.port)" }
}

/// The numbers are those of Kafka's stored records (`SecurityProtocol`).
package enum SecurityProtocol: Int16, Sendable, Hashable {
  case plaintext = 0, ssl = 1, saslPlaintext = 2, saslSSL = 3

  package init?(name: String) {
    switch name.uppercased() {
    case "PLAINTEXT": self = .plaintext
    case "SSL": self = .ssl
    case "SASL_PLAINTEXT": self = .saslPlaintext
    case "SASL_SSL": self = .saslSSL
    default: return nil
    }
  }
  package var name: String {
    switch self {
    case .plaintext: "PLAINTEXT"
    case .ssl: "SSL"
    case .saslPlaintext: "SASL_PLAINTEXT"
    case .saslSSL: "SASL_SSL"
    }
  }
}

/// Reads a list of listeners. Each name must be in `protocols`, and be PLAINTEXT.
func parseListeners(_ text: String, config: String, protocols: [String: SecurityProtocol]) throws(ConfigError) -> [Listener] {
  var listeners: [Listener] = []
  for element in configList(text) {
    func bad(_ why: String) -> ConfigError { .invalid(config, element, why) }
    guard let (name, host, port) = splitEndpoint(element) else {
      throw bad("a listener is written NAME://host:port, with the port from 0 to 65535")
    }
    guard let securityProtocol = protocols[name.uppercased()] else {
      throw bad("no security protocol is defined for listener \(name); add it to listener.security.protocol.map")
    }
    guard securityProtocol == .plaintext else {
      throw bad("\(securityProtocol.name) listeners are not supported yet by this version; use PLAINTEXT")
    }
    let listener = Listener(name: name.uppercased(), host: host, port: port, securityProtocol: securityProtocol)
    if listeners.contains(where: { $0.name == listener.name }) { throw bad("each listener must have a different name") }
    if port != 0, listeners.contains(where: { $0.port == port && $0.host == host }) {
      throw bad("each listener must have a different address")
    }
    listeners.append(listener)
  }
  return listeners
}

/// `NAME:PROTOCOL` pairs, as a map from the listener's name in capitals.
func parseProtocolMap(_ text: String) throws(ConfigError) -> [String: SecurityProtocol] {
  let config = "listener.security.protocol.map"
  var map: [String: SecurityProtocol] = [:]
  for element in configList(text) {
    let parts = element.split(separator: ":", omittingEmptySubsequences: false).map { trimmed($0) }
    guard parts.count == 2, !parts[0].isEmpty else { throw .invalid(config, element, "each pair is written NAME:PROTOCOL") }
    guard let value = SecurityProtocol(name: parts[1]) else {
      throw .invalid(config, element, "the protocol must be one of: \(securityProtocols.joined(separator: ", "))")
    }
    if map.updateValue(value, forKey: parts[0].uppercased()) != nil { throw .invalid(config, element, "the listener is named twice") }
  }
  return map
}

private func splitEndpoint(_ text: String) -> (name: String, host: String, port: UInt16)? {
  let parts = text.split(separator: "://", maxSplits: 1, omittingEmptySubsequences: false)
  guard parts.count == 2, !parts[0].isEmpty, parts[0].utf8.allSatisfy(isNameByte), let (host, port) = splitAddress(parts[1]) else {
    return nil
  }
  return (String(parts[0]), host, port)
}

/// `host:port`, `[v6]:port` or `:port`.
func splitAddress(_ address: some StringProtocol) -> (host: String, port: UInt16)? {
  guard let colon = address.lastIndex(of: ":"), let port = UInt16(address[address.index(after: colon)...]) else { return nil }
  var host = Substring(address[..<colon])
  if host.hasPrefix("[") {
    guard host.hasSuffix("]") else { return nil }
    host = host.dropFirst().dropLast()
  } else if host.contains(":") {
    return nil  // an IPv6 address needs brackets, or its last group would be taken for the port
  }
  guard host.utf8.allSatisfy({ $0 > 0x20 && $0 != UInt8(ascii: "/") }) else { return nil }
  return (String(host), port)
}

private func isNameByte(_ byte: UInt8) -> Bool {
  switch byte {
  case UInt8(ascii: "a")...UInt8(ascii: "z"), UInt8(ascii: "A")...UInt8(ascii: "Z"), UInt8(ascii: "0")...UInt8(ascii: "9"),
    UInt8(ascii: "_"), UInt8(ascii: "-"), UInt8(ascii: "."): true
  default: false
  }
}

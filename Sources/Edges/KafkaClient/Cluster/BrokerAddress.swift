/// Where a broker listens.
public struct BrokerAddress: Hashable, Sendable, CustomStringConvertible {
  /// A name, an IPv4 address, or an IPv6 address without brackets.
  public var host: String
  public var port: Int

  public init(host: String, port: Int) { (self.host, self.port) = (host, port) }

  /// Parses `host`, `host:port` or `[v6]:port`; the port defaults to 9092. Nil if it is none of these.
  public init?(_ text: some StringProtocol) {
    let trimmed = text.drop(while: { $0 == " " })
    var host = Substring(trimmed)
    while host.last == " " { host.removeLast() }
    var port: Substring?
    if host.first == "[" {
      guard let end = host.firstIndex(of: "]") else { return nil }
      let rest = host[host.index(after: end)...]
      if !rest.isEmpty {
        guard rest.first == ":" else { return nil }
        port = rest.dropFirst()
      }
      host = host[host.index(after: host.startIndex)..<end]
    } else if let colon = host.lastIndex(of: ":") {
      // Two colons without brackets are a bare IPv6 address, which has no port.
      if host.firstIndex(of: ":") == colon {
        port = host[host.index(after: colon)...]
        host = host[..<colon]
      }
    }
    guard !host.isEmpty, !host.contains(" ") else { return nil }
    self.host = String(host)
    self.port = 9092
    if let port {
      guard let number = Int(port), (1...65535).contains(number) else { return nil }
      self.port = number
    }
  }

  /// Parses a comma-separated list with at least one address.
  public static func list(_ text: String) throws(KafkaError) -> [BrokerAddress] {
    var addresses: [BrokerAddress] = []
    for part in text.split(separator: ",", omittingEmptySubsequences: true) {
      guard let address = BrokerAddress(part) else {
        throw KafkaError(.invalidArgument, "'\(part)' is not an address; write host:port, or several with commas between them")
      }
      addresses.append(address)
    }
    if addresses.isEmpty { throw KafkaError(.invalidArgument, "no broker address given; write host:port, for example 127.0.0.1:9092") }
    return addresses
  }

  public var description: String { self.host.contains(":") ? "[\(self.host)]:\(self.port)" : "\(self.host):\(self.port)" }
}

package import Broker

/// Where a listener binds, as configured: `listeners=NAME://host:port`.
package struct ListenerAddress: Hashable, Sendable, CustomStringConvertible {
  package var name: String
  /// A name, an IPv4 or an IPv6 address without brackets; empty: every interface.
  package var host: String
  /// 0: any free port.
  package var port: Int
  package var role: ListenerRole

  package init(name: String, host: String, port: Int, role: ListenerRole = .broker) {
    (self.name, self.host, self.port, self.role) = (name, host, port, role)
  }

  /// `127.0.0.1:9092`, `[::1]:9092`.
  package var hostAndPort: String { self.host.contains(":") ? "[\(self.host)]:\(self.port)" : "\(self.host):\(self.port)" }
  package var description: String { "\(self.name)://\(self.hostAndPort)" }
}

/// A listener could not be opened.
package struct BindError: Error, Sendable, CustomStringConvertible {
  package let address: ListenerAddress
  package let reason: String
  package var description: String { "cannot listen on \(self.address.hostAndPort): \(self.reason)" }
}

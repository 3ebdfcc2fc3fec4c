package import Environment
package import NIOCore

/// A network on which there is nobody else: every connection is refused.
package struct IsolatedNetwork: NetworkPort {
  private let later: @Sendable (@escaping @Sendable () -> Void) -> Void

  /// - Parameter later: runs what it is given after the call that gave it.
  package init(later: @escaping @Sendable (@escaping @Sendable () -> Void) -> Void) { self.later = later }

  package func connect(
    to address: NodeAddress, for traffic: Traffic, _ handler: @escaping @Sendable (LinkEvent) -> Void
  ) -> RefusedLink {
    self.later { handler(.closed(.refused)) }
    return RefusedLink()
  }
}

/// What comes of a connection to nobody.
package final class RefusedLink: NetworkLink {
  package func send(_ frame: ByteBuffer) {}
  package func close() {}
}

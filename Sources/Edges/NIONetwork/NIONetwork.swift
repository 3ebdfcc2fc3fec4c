import Base
package import Environment
package import NIOCore
import NIOPosix

/// The network port on sockets: connections to other nodes, on event loops of their own kind.
package struct NIONetwork: NetworkPort {
  /// Loops for requests that must not wait, and for those that carry records.
  private let controlGroup: any EventLoopGroup
  private let dataGroup: any EventLoopGroup
  private let frameByteCountMax: Int
  private let connectTimeout: Duration

  /// - Parameters:
  ///   - frameByteCountMax: a larger answer ends the connection (`socket.request.max.bytes` of this node, in bytes).
  ///   - connectTimeout: after it a host that says nothing counts as unreachable.
  package init(
    controlGroup: any EventLoopGroup, dataGroup: any EventLoopGroup, frameByteCountMax: Int = 100 << 20,
    connectTimeout: Duration = .seconds(2)
  ) {
    self.controlGroup = controlGroup
    self.dataGroup = dataGroup
    self.frameByteCountMax = frameByteCountMax
    self.connectTimeout = connectTimeout
  }

  package func connect(
    to address: NodeAddress, for traffic: Traffic, _ handler: @escaping @Sendable (LinkEvent) -> Void
  ) -> NIOLink {
    let loop = (traffic == .control ? self.controlGroup : self.dataGroup).next()
    let link = NIOLink(eventLoop: loop, frameByteCountMax: self.frameByteCountMax, handler)
    loop.execute { link.connect(to: address, timeout: self.connectTimeout, largeReads: traffic == .data) }
    return link
  }
}

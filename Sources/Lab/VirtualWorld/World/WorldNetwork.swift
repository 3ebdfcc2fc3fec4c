package import Environment
package import NIOCore

/// The network as one life of a node in a `World` sees it.
package struct WorldNetwork: NetworkPort {
  let world: World
  let owner: World.Owner
  let host: String
  /// How long a connection is tried before its host counts as unreachable.
  private static var connectTimeout: Int64 { 2_000_000_000 }

  init(world: World, owner: World.Owner, host: String) {
    (self.world, self.owner, self.host) = (world, owner, host)
    world.net.name(owner.node, host)
  }

  /// Serves connections that others make to `port` of this host, for as long as this life lasts. `accept` takes the new connection and
  /// returns what gets its events; `.opened` is not among them.
  package func listen(_ port: UInt16, _ accept: @escaping @Sendable (WorldLink) -> @Sendable (LinkEvent) -> Void) {
    self.world.net.listen(NodeAddress(host: self.host, port: port), WorldNet.Listener(owner: self.owner, accept: accept))
  }

  /// Takes no connections any more; those that stand go on.
  package func stopListening() { self.world.net.stopListening(self.owner) }

  package func connect(
    to address: NodeAddress, for traffic: Traffic, _ handler: @escaping @Sendable (LinkEvent) -> Void
  ) -> WorldLink {
    let (world, net, client) = (self.world, self.world.net, self.owner)
    let connection = WorldConnection(client: client, handler)
    let link = WorldLink(connection, .client, world)
    guard let machine = net.machine(of: address.host) else {
      connection.end(.client, .unreachable(reason: "the name '\(address.host)' cannot be resolved"), after: 0, in: world)
      return link
    }
    let there = WorldNet.Direction(from: client.node, to: machine)
    net.add(connection)
    world.plan(after: net.latency(there), owner: nil) {
      let isHeard = !net.isCut(there) && !net.isCut(WorldNet.Direction(from: machine, to: client.node))
      guard isHeard, world.condition(of: machine) != .off else {
        connection.end(.client, .unreachable(reason: "no answer in time"), after: Self.connectTimeout, in: world)
        return
      }
      guard let listener = net.listener(at: address) else {
        connection.end(.client, .refused, after: net.latency(there), in: world)
        return
      }
      connection.accept(listener, in: world)
    }
    return link
  }
}

/// One side of a connection in a `World`.
package final class WorldLink: NetworkLink {
  private let connection: WorldConnection
  private let side: WorldConnection.Side
  private let world: World

  init(_ connection: WorldConnection, _ side: WorldConnection.Side, _ world: World) {
    (self.connection, self.side, self.world) = (connection, side, world)
  }

  package func send(_ frame: ByteBuffer) { self.connection.send(frame, from: self.side, in: self.world) }
  package func close() { self.connection.close(self.side, in: self.world) }
}

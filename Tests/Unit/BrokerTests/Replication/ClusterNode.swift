import Base
import Broker
import Environment
import Metadata
import Model
import NIOCore
import Peers
import Storage
import Synchronization
import Testing
import VirtualWorld
import Wire

/// One life of a broker on a machine of a `World`: reached by others over the world's network, and by the test directly.
final class ClusterNode: Sendable {
  let id: NodeID
  let environment: WorldNode
  let broker: Broker<WorldNode>
  let events: EventList
  /// Of the registration of this life.
  let epoch: BrokerEpoch
  private let client: TestClient
  private let followed: Mutex<(image: MetadataImage, count: Int)>

  /// - Parameter machine: of the world; it must be dead or off.
  init(
    _ id: Int32, machine: Int, disk: FaultyDisk, epoch: BrokerEpoch, settings: [String: String], events: EventList, in world: World
  ) throws {
    self.id = NodeID(id)
    self.epoch = epoch
    self.events = events
    self.environment = WorldNode(machine, host: "n\(id)", disk: disk, in: world)
    self.client = TestClient(connectionID: 1)
    self.followed = Mutex((MetadataImage(clusterID: "test"), 0))
    var config = StaticConfig()
    try config.set("node.id", "\(id)")
    try config.set("log.dirs", "/data")
    try config.set("listeners", "PLAINTEXT://n\(id):9092")
    for (name, value) in settings.sorted(by: { $0.key < $1.key }) { try config.set(name, value) }
    self.broker = try Broker.open(environment: self.environment, staticConfig: config, events: events)
    self.broker.noteRegistration(epoch)
    self.listen()
  }

  // MARK: - The network

  private func listen() {
    let broker = self.broker
    let connections = Atomic<UInt64>(100)
    self.environment.network.listen(9092) { link in
      let number = connections.wrappingAdd(1, ordering: .relaxed).newValue
      let client = ClientContext(connectionID: number, listener: "PLAINTEXT", host: "peer", port: 1)
      let sink = LinkSink(link)
      broker.connected(client)
      return { event in
        switch event {
        case .opened: break
        case .received(let frame): broker.handle(frame, from: client, reply: Reply(sink: sink, slot: sink.open()))
        case .closed: broker.disconnected(client)
        }
      }
    }
  }

  // MARK: - Metadata

  /// Acts on what of `log` it has not seen yet.
  func follow(_ log: [MetadataChange]) throws {
    let (image, delta) = try self.followed.withLock { followed in
      var delta = MetadataDelta()
      for change in log[followed.count...] {
        try followed.image.apply(change, at: Offset(Int64(followed.count)), into: &delta)
        followed.count += 1
      }
      return (followed.image, delta)
    }
    if !delta.isEmpty { self.broker.apply(image, delta) }
  }

  // MARK: - Clients

  /// Sends a request. What it brings about happens when the world runs.
  @discardableResult
  func send<Request: ApiRequest>(_ request: Request, version: Int16 = Request.supportedVersions.upperBound) -> Pending<Request.Response> {
    let slot = self.client.sink.open()
    self.broker.handle(
      TestNode.frame(request, version: version), from: self.client.context, reply: Reply(sink: self.client.sink, slot: slot))
    return Pending(sink: self.client.sink, slot: slot, version: version, responseKey: Request.apiKey)
  }
}

/// Sends answers over a link in the order of their requests.
private final class LinkSink: ResponseSink {
  typealias File = FaultyFile
  private struct State: Sendable {
    var opened: UInt64 = 0
    var sent: UInt64 = 0
    var waiting: [UInt64: OutgoingFrame<FaultyFile>?] = [:]
  }
  private let link: WorldLink
  private let state = Mutex(State())

  init(_ link: WorldLink) { self.link = link }

  func open() -> UInt64 {
    self.state.withLock { state in
      defer { state.opened += 1 }
      return state.opened
    }
  }

  func deliver(_ frame: OutgoingFrame<FaultyFile>?, slot: UInt64) {
    let ready = self.state.withLock { state -> [OutgoingFrame<FaultyFile>] in
      state.waiting[slot] = .some(frame)
      var ready: [OutgoingFrame<FaultyFile>] = []
      while let next = state.waiting.removeValue(forKey: state.sent) {
        if let next { ready.append(next) }
        state.sent += 1
      }
      return ready
    }
    for frame in ready { self.link.send(Self.bytes(frame)) }
  }

  func close(reason: String) { self.link.close() }

  private static func bytes(_ frame: OutgoingFrame<FaultyFile>) -> ByteBuffer {
    var bytes = ByteBuffer()
    for piece in frame.pieces {
      switch piece {
      case .bytes(let part): bytes.writeImmutableBuffer(part)
      case .file(let file, let position, let byteCount):
        var part = [UInt8](repeating: 0, count: byteCount)
        _ = try? part.withUnsafeMutableBytes { try file.read(into: $0, at: position) }
        bytes.writeBytes(part)
      }
    }
    return bytes
  }
}

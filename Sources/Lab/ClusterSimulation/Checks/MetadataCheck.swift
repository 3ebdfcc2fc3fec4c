import Base
import Broker
import Controller
import Metadata
import Model
import Synchronization
import VirtualWorld

/// The metadata images of all nodes agree at equal offsets.
final class MetadataCheck: Sendable {
  private struct State: Sendable {
    /// The first that was seen at an offset, the newest last.
    var images: [(image: MetadataImage, node: NodeID)] = []
    var lastOffset: [NodeID: Offset] = [:]
  }
  private let board: Board
  private let nodes: [SimNode]
  private let state = Mutex(State())
  /// Images of which nodes far behind may yet be asked.
  private static var imagesMax: Int { 400 }

  init(_ nodes: [SimNode], board: Board) { (self.nodes, self.board) = (nodes, board) }

  /// The newest image that any node has published.
  var newest: MetadataImage? { self.state.withLock { $0.images.max { $0.image.offset < $1.image.offset }?.image } }

  func look() {
    for node in self.nodes {
      guard let image = node.life?.broker?.controller.image, image.offset >= .zero else { continue }
      let other: NodeID? = self.state.withLock { state in
        if state.lastOffset[node.id] == image.offset { return nil }
        state.lastOffset[node.id] = image.offset
        if let known = state.images.last(where: { $0.image.offset == image.offset }) { return known.image == image ? nil : known.node }
        state.images.append((image, node.id))
        if state.images.count > Self.imagesMax { state.images.removeFirst(Self.imagesMax / 2) }
        return nil
      }
      if let other { self.board.violate(.sameMetadata, "nodes \(node.id) and \(other) differ in their metadata at offset \(image.offset)") }
    }
  }
}

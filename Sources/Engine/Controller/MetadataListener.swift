package import Metadata

/// Who acts on the metadata: the broker of this node. Calls come one at a time, in the order of the log, on the log's thread,
/// before the request that caused the change is answered.
package protocol MetadataListener: AnyObject, Sendable {
  /// `image` is committed; `delta` is what changed since the last call. The first call, during the controller's start, has everything.
  func metadataChanged(_ image: MetadataImage, _ delta: MetadataDelta)
  /// Something the operator should know.
  func controllerEvent(_ event: ControllerEvent)
}

/// What an operator should hear of, once.
package enum ControllerEvent: Sendable, CustomStringConvertible {
  case loaded(recordCount: Int, image: MetadataImage)
  /// One change was refused by the disk. The log is intact and the next may succeed.
  case appendFailed(MetadataLogError)
  /// Changes wait to be committed, which is tried again and again.
  case commitDelayed(MetadataLogError)
  /// The controller answers errors from now on.
  case logFailed(MetadataLogError)

  package var description: String {
    switch self {
    case .loaded(let recordCount, let image):
      "metadata loaded: \(recordCount) records, \(image.topicCount) topics, \(image.partitionCount) partitions, offset \(image.offset)"
    case .appendFailed(let error): "a change of the metadata could not be written: \(error)"
    case .commitDelayed(let error): "changes of the metadata wait to be committed: \(error)"
    case .logFailed(let error): "the metadata log failed, changes of the metadata are refused until a restart: \(error)"
    }
  }
}

package import Metadata
package import Model

/// Why the controller cannot go on with this log.
package enum ControllerLoadError: Error, Sendable, Hashable, CustomStringConvertible {
  case log(MetadataLogError)
  case record(at: Offset, MetadataRecordError)
  case replay(at: Offset, ReplayError)
  /// `number`: of the record in the snapshot, from 0. `of`: the snapshot's end.
  case snapshotRecord(number: Int, of: Offset, MetadataRecordError)
  case snapshotReplay(of: Offset, ReplayError)
  case metadataVersion(Int16)

  package var description: String {
    switch self {
    case .log(let error): "the metadata log cannot be used: \(error)"
    case .record(let offset, let error): "the record at offset \(offset) of the metadata log cannot be used: \(error)"
    case .replay(let offset, let error): "the record at offset \(offset) of the metadata log does not fit those before it: \(error)"
    case .snapshotRecord(let number, let end, let error):
      "record \(number) of the metadata snapshot up to offset \(end) cannot be used: \(error)"
    case .snapshotReplay(let end, let error): "the records of the metadata snapshot up to offset \(end) do not fit together: \(error)"
    case .metadataVersion(let level):
      "the metadata log has metadata.version \(level), which is not among those that this version of Apus works with: "
        + "\(MetadataVersion.minimum) to \(MetadataVersion.latest)"
    }
  }
}

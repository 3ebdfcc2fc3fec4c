package import LogCore
package import Model

/// Something that was found or repaired and that the operator should read in the log. Never fatal.
package enum StorageNotice: Hashable, Sendable, CustomStringConvertible {
  case tailTruncated(path: String, keptByteCount: Int64, removedByteCount: Int64, defect: RecoveryScan.Defect)
  case segmentRemoved(path: String, reason: String)
  case indexRebuilt(path: String, reason: String)
  case fileRebuilt(path: String, reason: String)
  case snapshotDiscarded(path: String, reason: String)
  /// The log ends before a point that had been synced.
  case syncedDataMissing(path: String, recoveryPoint: Offset, logEndOffset: Offset)
  case strangeEntry(path: String, reason: String)

  package var description: String {
    switch self {
    case .tailTruncated(let path, let kept, let removed, let defect):
      "\(path): \(defect); removed \(removed) bytes after byte \(kept)"
    case .segmentRemoved(let path, let reason): "\(path): segment removed, \(reason)"
    case .indexRebuilt(let path, let reason): "\(path): index rebuilt, \(reason)"
    case .fileRebuilt(let path, let reason): "\(path): rebuilt from the log, \(reason)"
    case .snapshotDiscarded(let path, let reason): "\(path): producer snapshot discarded, \(reason)"
    case .syncedDataMissing(let path, let point, let end):
      "\(path): the log ends at offset \(end), though it was synced to disk up to \(point): the device lost data or the files were changed"
    case .strangeEntry(let path, let reason): "\(path): passed over, \(reason)"
    }
  }
}

/// What opening a partition's log found and did.
package struct RecoveryReport: Hashable, Sendable {
  package var topicPartition: TopicPartition
  /// The log was closed cleanly, so that nothing had to be checked.
  package var wasClean: Bool
  /// The recovery point the scan began from.
  package var recoveryPoint: Offset
  /// Bytes whose checksums were verified.
  package var scannedByteCount: Int64 = 0
  /// Bytes cut off the end of a segment or lying in segments that were removed.
  package var removedByteCount: Int64 = 0
  package var logEndOffset: Offset = .zero
  package var notices: [StorageNotice] = []

  /// Whether anything was checked, cut or repaired. After a `kill -9` thousands of logs may need none of it.
  package var isWorthTelling: Bool { self.scannedByteCount > 0 || self.removedByteCount > 0 || !self.notices.isEmpty }

  package init(topicPartition: TopicPartition, wasClean: Bool, recoveryPoint: Offset) {
    (self.topicPartition, self.wasClean, self.recoveryPoint) = (topicPartition, wasClean, recoveryPoint)
  }
}

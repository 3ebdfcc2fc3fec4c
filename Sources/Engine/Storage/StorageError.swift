package import Environment
package import LogCore
package import Model

/// Why a log or a log directory could not do what was asked. `errorCode` is what a Kafka client is told.
package enum StorageError: Error, Hashable, Sendable, CustomStringConvertible {
  /// The disk refused. The log is as it was before the call.
  case disk(DiskError)
  /// The log was taken out of service by an earlier error: nothing can be appended, and only what is known to be durable read.
  case offline(path: String, reason: String)
  /// The offset is not in `logStartOffset...logEndOffset`.
  case offsetOutOfRange(requested: Offset, logStartOffset: Offset, logEndOffset: Offset)
  case producer(ProducerRefusal)
  /// A batch that no segment may hold (`segment.bytes`).
  case batchTooLarge(byteCount: Int, limit: Int)
  /// A batch that is not what its sender says. Nothing was appended.
  case invalidBatch(reason: String)
  /// A replicated batch that does not go on where the log ends.
  case unexpectedOffset(Offset, expected: Offset)
  /// Stored bytes that are not what was written.
  case corrupt(path: String, position: Int64, reason: String)
  /// The partition's directory or log is there already, or is not.
  case alreadyExists(path: String)
  case notFound(path: String)
  /// Another process has the log directory.
  case directoryInUse(path: String)
  case wrongCluster(path: String, found: String, expected: String)
  case wrongNode(path: String, found: NodeID, expected: NodeID)
  /// A small file (meta.properties and its like) that cannot be understood.
  case invalidFile(path: String, reason: String)

  /// Nothing was done and nothing is in doubt; the same call may go through in a moment.
  package var isTransient: Bool { if case .disk(let error) = self { error.isTransient } else { false } }

  /// A log that could not be opened for this may be opened later, with nobody repairing a file: the disk refused a call and did nothing.
  /// Where it failed (`.io`) it may have lost what it was given, and a sync that is repeated would not tell.
  package var canPass: Bool { if case .disk(let error) = self { error.kind != .io } else { false } }

  package var errorCode: ErrorCode {
    switch self {
    case .disk, .offline, .alreadyExists, .notFound, .directoryInUse, .wrongCluster, .wrongNode, .invalidFile: .kafkaStorageError
    case .offsetOutOfRange: .offsetOutOfRange
    case .producer(.invalidProducerEpoch): .invalidProducerEpoch
    case .producer(.outOfOrderSequence): .outOfOrderSequenceNumber
    case .producer(.invalidTransactionState): .invalidTxnState
    case .batchTooLarge: .recordListTooLarge
    case .invalidBatch, .corrupt: .corruptMessage
    case .unexpectedOffset: .unknownServerError
    }
  }

  package var description: String {
    switch self {
    case .disk(let error): error.description
    case .offline(let path, let reason): "the log \(path) is offline: \(reason)"
    case .offsetOutOfRange(let requested, let start, let end):
      "offset \(requested) is out of range: the log begins at \(start) and ends at \(end)"
    case .producer(.invalidProducerEpoch(let id, let got, let current)):
      "producer \(id) sent epoch \(got), but \(current) is current: another instance has taken its place"
    case .producer(.outOfOrderSequence(let id, let got, let last)):
      "producer \(id) sent sequence \(got) after \(last)"
    case .producer(.invalidTransactionState(let id)): "producer \(id) has a transaction open, but sent a batch outside of it"
    case .batchTooLarge(let byteCount, let limit):
      "a batch of \(byteCount) bytes is larger than a segment may be (segment.bytes = \(limit))"
    case .invalidBatch(let reason): "the batch is not valid: \(reason)"
    case .unexpectedOffset(let got, let expected): "a replicated batch begins at offset \(got), but the log ends at \(expected)"
    case .corrupt(let path, let position, let reason): "\(path) is corrupt at byte \(position): \(reason)"
    case .alreadyExists(let path): "\(path) is there already"
    case .notFound(let path): "there is no log at \(path)"
    case .directoryInUse(let path):
      "log directory \(path) is used by another process: stop it, or start with another data directory"
    case .wrongCluster(let path, let found, let expected):
      "log directory \(path) belongs to cluster \(found), not to \(expected): check cluster.id, or use another data directory"
    case .wrongNode(let path, let found, let expected):
      "log directory \(path) belongs to node \(found), but node.id is \(expected): check node.id, or use another data directory"
    case .invalidFile(let path, let reason): "\(path) cannot be understood: \(reason)"
    }
  }
}

/// Runs disk calls where storage errors are thrown.
@inline(__always)
func onDisk<Result>(_ body: () throws(DiskError) -> Result) throws(StorageError) -> Result {
  do { return try body() } catch { throw .disk(error) }
}

package import Model
package import NIOCore

/// The metadata log as the controller sees it: records go in at the end, and some time later they are committed.
///
/// A quorum of one (`LocalMetadataLog`) commits when the disk has synced; Raft will commit when a majority has.
package protocol MetadataLogPort: AnyObject, Sendable {
  /// Where the next batch begins. Only the controller appends, one batch at a time, so it holds until it does.
  var nextOffset: Offset { get }

  /// Hands every record from `offset` on to `body`, in order, with its offset. Records of the log's own (control batches) are left out.
  /// Called once, before the first append.
  func read<E: Error>(from offset: Offset, _ body: (Offset, ByteBuffer) throws(E) -> Void) throws(MetadataLogReadError<E>)

  /// Begins to report to `listener`, one event at a time, and to take appends.
  func start(_ listener: @escaping @Sendable (MetadataLogEvent) -> Void) throws(MetadataLogError)

  /// Appends the records as one batch, all or none, and sees to it that it will be committed. If it throws, the log is as before.
  func append(_ records: [ByteBuffer]) throws(MetadataLogError)

  /// Commits what is not committed yet, reports it and closes; then calls `completion`.
  func close(_ completion: @escaping @Sendable (MetadataLogError?) -> Void)
}

/// What became of records that were appended.
package enum MetadataLogEvent: Sendable, Hashable {
  /// Every record below the offset is durable for good.
  case committed(upTo: Offset)
  /// What was appended is not committed yet and will be tried again: reported once until a commit succeeds.
  case delayed(MetadataLogError)
  /// What was not committed yet may or may not be in the log. Nothing more can be appended.
  case failed(MetadataLogError)
}

/// Why the log could not do what was asked: a sentence for people, and the code a client is given.
package struct MetadataLogError: Error, Sendable, Hashable, CustomStringConvertible {
  package var code: ErrorCode
  package var reason: String
  package init(_ reason: String, code: ErrorCode = .kafkaStorageError) { (self.reason, self.code) = (reason, code) }
  package var description: String { self.reason }
}

/// Either the log could not be read, or whoever read it threw.
package enum MetadataLogReadError<Reader: Error>: Error {
  case log(MetadataLogError)
  case reader(Reader)
}

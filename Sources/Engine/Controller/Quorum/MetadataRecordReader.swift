import Model
import NIOCore
import Records

/// Reads the values of metadata records out of batches, of the log or of a snapshot.
enum MetadataRecordReader {
  /// Hands every record at or after `offset` to `body`. Control records concern the log, not what it says, and are left out.
  static func read<E: Error>(
    _ bytes: ByteBuffer, from offset: Offset, _ workspace: RecordWorkspace, _ body: (Offset, ByteBuffer) throws(E) -> Void
  ) throws(MetadataLogReadError<E>) {
    func checked<Value>(_ step: () throws(RecordError) -> Value) throws(MetadataLogReadError<E>) -> Value {
      do throws(RecordError) { return try step() } catch { throw .log(MetadataLogError("it has a bad batch: \(error)")) }
    }
    var batches = BatchSequence(bytes)
    while let batch = try checked({ () throws(RecordError) in try batches.next() }) {
      // Leader changes and their like concern the log, not what it says.
      if batch.header.attributes.isControl { continue }
      var records = try checked { () throws(RecordError) in try batch.records(using: workspace.decompressor) }
      while let record = try checked({ () throws(RecordError) in try records.next() }) {
        guard record.offset >= offset else { continue }
        guard let value = record.value else { throw .log(MetadataLogError("the record at offset \(record.offset) has no value")) }
        do throws(E) { try body(record.offset, value) } catch { throw .reader(error) }
      }
    }
    if batches.remainingByteCount > 0 {
      throw .log(MetadataLogError("\(batches.remainingByteCount) bytes are left behind its last whole batch"))
    }
  }
}

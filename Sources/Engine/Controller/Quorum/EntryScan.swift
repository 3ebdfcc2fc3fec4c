import Compression
import Model
import NIOCore
import Raft
import Records
import Wire

/// Reads batches of the metadata log for what Raft needs to know of them: where they lie, their terms, and their control records.
enum EntryScan {
  /// A run of whole batches as a leader sends them. Every batch is checked as far as the log will check it, so that what passes here can
  /// be appended. A batch that is cut short at the end is left out.
  ///
  /// - Parameter keep: takes the bytes of the whole batches and names them.
  static func run(in bytes: ByteBuffer, keep: (ByteBuffer) -> PayloadID) throws(QuorumMessageError) -> EntryRun {
    var terms: [TermStart] = []
    var controls: [PlacedControl] = []
    var start: LogIndex?
    var end = LogIndex.zero
    var batches = BatchSequence(bytes)
    do {
      while let batch = try batches.next() {
        let index = LogIndex(batch.header.baseOffset.rawValue)
        // The metadata log is never compacted: a gap is a mistake.
        if start != nil, index != end { throw QuorumMessageError("a batch at offset \(index) follows one that ends at \(end)") }
        let term = Term(batch.header.partitionLeaderEpoch.rawValue)
        if let last = terms.last, term < last.term { throw QuorumMessageError("epoch \(term) follows epoch \(last.term)") }
        if terms.last?.term != term { terms.append(TermStart(term: term, index: index)) }
        if batch.header.attributes.isControl { controls += try self.contents(of: batch).controls }
        start = start ?? index
        end = LogIndex(batch.header.nextOffset.rawValue)
      }
    } catch let error as QuorumMessageError {
      throw error
    } catch {
      throw QuorumMessageError("\(error)")
    }
    guard let start else { throw QuorumMessageError("not even one batch is whole") }
    var whole = bytes
    whole.moveWriterIndex(to: bytes.writerIndex - batches.remainingByteCount)
    return EntryRun(start: start, end: end, terms: terms, controls: controls, payload: keep(whole))
  }

  /// What a control batch holds.
  struct ControlContents {
    /// Those that Raft acts on, at their places.
    var controls: [PlacedControl] = []
    var hasSnapshotHeader = false
    var hasSnapshotFooter = false
  }

  static func contents(of batch: RecordBatchView) throws -> ControlContents {
    var contents = ControlContents()
    var records = try batch.records(using: Decompressor())
    while let record = try records.next() {
      guard let key = record.key, let value = record.value else { throw QuorumMessageError("a control record without key or value") }
      let index = LogIndex(record.offset.rawValue)
      switch try ControlRecord(key: key, value: value) {
      case .leaderChange(let message): contents.controls.append(PlacedControl(index: index, entry: .leaderChange(message)))
      case .voters(let message): contents.controls.append(PlacedControl(index: index, entry: .voters(try VoterSet(message))))
      case .kraftVersion(let message):
        contents.controls.append(PlacedControl(index: index, entry: .kraftVersion(KRaftVersion(message.kRaftVersion))))
      case .snapshotHeader: contents.hasSnapshotHeader = true
      case .snapshotFooter: contents.hasSnapshotFooter = true
      case .abort, .commit: throw QuorumMessageError("a transaction marker in the metadata log")
      }
    }
    return contents
  }
}

import ArgumentParser
import LogCore

/// `apus log`: looks at a broker's files.
struct LogCommand: AsyncParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "log", abstract: "Look at a broker's files, whether it runs or not.", subcommands: [LogDump.self])
}

/// `apus log dump`
struct LogDump: AsyncParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "dump",
    abstract: "Print what is in the files of a log directory: segments, indexes, the metadata log, checkpoints, snapshots.",
    discussion: """
      The kind of a file is told by its name: .log, .index, .timeindex, .txnindex, .snapshot, .checkpoint, leader-epoch-checkpoint, \
      the offset checkpoints, partition.metadata, meta.properties. Records of the metadata log (a directory named __cluster_metadata-0) \
      are decoded. Nothing is changed.

      Every checksum is checked. What is corrupt is shown with its position and the reason, on stdout among the rest and on stderr. A \
      file that cannot be read, or is none of these, is named likewise; the others are read all the same.

      Exit codes: 0 everything was read and is sound; 1 something is corrupt or could not be read; 64 the command line was wrong, or \
      (nothing being worse) a file was none of a broker's.
      """)

  @Argument(help: "The files.") var files: [String]
  @Flag(name: .long, help: "One JSON object a line.") var json = false
  @Flag(name: .long, help: "Of segments only the batches, not their records.") var batchesOnly = false
  @Flag(name: .long, help: "Decode the records of segments as metadata, whatever the directory is called.") var metadata = false

  func run() async throws {
    var output = DumpOutput(isJSON: self.json)
    for (index, path) in self.files.enumerated() {
      if index > 0 { output.separate() }
      do throws(DumpFailure) {
        try self.dump(path, to: &output)
      } catch {
        output.report(path, error)
      }
    }
    output.flush()
    if output.hasFailed { throw ExitCode.failure }
    if output.hasUnknown { throw ExitCode.validationFailure }
  }

  private func dump(_ path: String, to output: inout DumpOutput) throws(DumpFailure) {
    let parts = path.split(separator: "/")
    guard var name = parts.last.map(String.init) else { throw DumpFailure("'\(path)' names no file", kind: .unknown) }
    for suffix in [LogFileName.deletedSuffix, LogFileName.temporarySuffix] where name.hasSuffix(suffix) { name.removeLast(suffix.count) }
    let isMetadata = self.metadata || parts.dropLast().last?.hasPrefix("__cluster_metadata-") == true
    output.begin(path)
    if let (offset, kind) = LogFileName.parse(name) {
      switch kind {
      case .log: try SegmentDump(path: path, isMetadata: isMetadata, batchesOnly: self.batchesOnly).run(&output)
      case .offsetIndex: try IndexDump.offsets(path, baseOffset: offset, &output)
      case .timeIndex: try IndexDump.times(path, baseOffset: offset, &output)
      case .transactionIndex: try IndexDump.transactions(path, &output)
      case .producerSnapshot: try SmallFileDump.producers(path, &output)
      }
      return
    }
    switch name {
    case _ where name.hasSuffix(".log"): try SegmentDump(path: path, isMetadata: isMetadata, batchesOnly: self.batchesOnly).run(&output)
    // A snapshot of the metadata log (KIP-630) has a segment's form.
    case _ where name.hasSuffix(".checkpoint"): try SegmentDump(path: path, isMetadata: true, batchesOnly: self.batchesOnly).run(&output)
    case LogFileName.leaderEpochCheckpoint: try SmallFileDump.leaderEpochs(path, &output)
    case LogDirectoryFile.recoveryPoints, LogDirectoryFile.logStartOffsets, LogDirectoryFile.highWatermarks:
      try SmallFileDump.offsets(path, &output)
    case LogFileName.partitionMetadata: try SmallFileDump.partitionMetadata(path, &output)
    case LogDirectoryFile.metaProperties: try SmallFileDump.properties(path, &output)
    default:
      if Descriptor.isDirectory(path) { throw DumpFailure("it is a directory: name the files in it", kind: .unknown) }
      throw DumpFailure("'\(name)' is not the name of a file that a broker writes; see --help for those that are known", kind: .unknown)
    }
  }
}

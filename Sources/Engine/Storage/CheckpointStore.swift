import Environment
import LogCore
import Model
import Synchronization

/// The three offset checkpoints of a log directory: in memory at once, in the files when `write` is called.
final class CheckpointStore<Disk: DiskPort>: Sendable {
  private struct Table {
    var offsets: [TopicPartition: Offset] = [:]
    var isChanged = false
    mutating func set(_ offset: Offset?, of partition: TopicPartition) {
      guard self.offsets[partition] != offset else { return }
      self.offsets[partition] = offset
      self.isChanged = true
    }
  }
  private struct Tables {
    var recoveryPoints = Table()
    var logStartOffsets = Table()
    var highWatermarks = Table()
    /// The ends of logs that were closed: their recovery points once all is synced.
    var closed: [TopicPartition: Offset] = [:]
    /// Both as the files have them, which a crash would bring back.
    var writtenRecoveryPoints: [TopicPartition: Offset] = [:]
    var writtenLogStartOffsets: [TopicPartition: Offset] = [:]
    /// The files were found after an unclean stop: a crash may bring back others, until they are written once.
    var isInDoubt: Bool
  }
  private let disk: Disk
  private let directory: String
  private let names: DirectoryNames<Disk>
  private let tables: Mutex<Tables>
  /// Held while files are written, so that an older table never replaces a younger.
  private let writing = Mutex<Void>(())

  init(disk: Disk, names: DirectoryNames<Disk>, isInDoubt: Bool, notices: inout [StorageNotice]) throws(StorageError) {
    let directory = names.path
    (self.disk, self.directory, self.names) = (disk, directory, names)
    var tables = Tables(isInDoubt: isInDoubt)
    tables.recoveryPoints = try Self.read(LogDirectoryFile.recoveryPoints, disk, directory, &notices)
    tables.logStartOffsets = try Self.read(LogDirectoryFile.logStartOffsets, disk, directory, &notices)
    tables.highWatermarks = try Self.read(LogDirectoryFile.highWatermarks, disk, directory, &notices)
    tables.writtenRecoveryPoints = tables.recoveryPoints.offsets
    tables.writtenLogStartOffsets = tables.logStartOffsets.offsets
    if isInDoubt {
      for table in [\Tables.recoveryPoints, \.logStartOffsets, \.highWatermarks] { tables[keyPath: table].isChanged = true }
    }
    self.tables = Mutex(tables)
  }

  private static func read(
    _ name: String, _ disk: Disk, _ directory: String, _ notices: inout [StorageNotice]
  ) throws(StorageError) -> Table {
    let path = directory + "/" + name
    guard let text = try onDisk({ () throws(DiskError) in try SmallFile.readText(path, on: disk) }) else { return Table() }
    guard let offsets = CheckpointText.offsets(of: text) else {
      // Without it more is checked than needed, and nothing is lost.
      notices.append(.fileRebuilt(path: path, reason: "it is not a checkpoint of version 0"))
      return Table(offsets: [:], isChanged: true)
    }
    return Table(offsets: offsets)
  }

  func recoveryPoint(of partition: TopicPartition) -> Offset { self.tables.withLock { $0.recoveryPoints.offsets[partition] ?? .zero } }
  func logStartOffset(of partition: TopicPartition) -> Offset { self.tables.withLock { $0.logStartOffsets.offsets[partition] ?? .zero } }
  func highWatermark(of partition: TopicPartition) -> Offset? { self.tables.withLock { $0.highWatermarks.offsets[partition] } }

  func setRecoveryPoint(_ offset: Offset, of partition: TopicPartition) {
    self.tables.withLock { $0.recoveryPoints.set(offset, of: partition) }
  }
  /// Notes where a log ended when it was closed. Not a recovery point yet: what it wrote is not synced.
  func setClosed(_ partition: TopicPartition, at offset: Offset) { self.tables.withLock { $0.closed[partition] = offset } }
  /// Everything was synced since the logs were closed.
  func commitClosed() {
    self.tables.withLock { tables in
      for (partition, offset) in tables.closed { tables.recoveryPoints.set(offset, of: partition) }
      tables.closed = [:]
    }
  }
  func setLogStartOffset(_ offset: Offset, of partition: TopicPartition) {
    // As Kafka does, a start that the first segment's name tells anyway is left out.
    self.tables.withLock { $0.logStartOffsets.set(offset > .zero ? offset : nil, of: partition) }
  }
  func setHighWatermark(_ offset: Offset, of partition: TopicPartition) {
    self.tables.withLock { $0.highWatermarks.set(offset, of: partition) }
  }

  /// Takes a recovery point, and a log start if it is higher, back before the log behind them is cut: durable when this
  /// returns, for a crash must not find a point that promises what is no longer there.
  func lower(_ partition: TopicPartition, recoveryPoint: Offset, logStartOffset: Offset) throws(StorageError) {
    let mustWrite = self.tables.withLock { tables in
      if recoveryPoint < tables.recoveryPoints.offsets[partition] ?? .zero { tables.recoveryPoints.set(recoveryPoint, of: partition) }
      if logStartOffset < tables.logStartOffsets.offsets[partition] ?? .zero { tables.logStartOffsets.set(logStartOffset, of: partition) }
      return tables.writtenRecoveryPoints[partition] ?? .zero > recoveryPoint
        || tables.writtenLogStartOffsets[partition] ?? .zero > logStartOffset
    }
    if mustWrite { return try self.write() }
    guard self.tables.withLock({ $0.isInDoubt }) else { return }
    do { try self.write() } catch {
      // The files say nothing that is too high. That a crash might bring back others is no reason to keep a log out of service for want
      // of room.
      guard case .disk(let cause) = error, cause.kind == .noSpace else { throw error }
    }
  }

  /// Forgets a partition, durably: one of the same name that comes later must not inherit anything.
  func forget(_ partition: TopicPartition) throws(StorageError) {
    let mustWrite = self.tables.withLock { tables in
      tables.recoveryPoints.set(nil, of: partition)
      tables.logStartOffsets.set(nil, of: partition)
      tables.highWatermarks.set(nil, of: partition)
      tables.closed[partition] = nil
      return tables.isInDoubt || tables.writtenRecoveryPoints[partition] != nil || tables.writtenLogStartOffsets[partition] != nil
    }
    if mustWrite { try self.write() }
  }

  /// Writes the tables that changed. Blocks.
  func write() throws(StorageError) {
    let result = self.writing.withLock { _ in
      Result { () throws(StorageError) in
        let (recovery, starts, marks) = self.tables.withLock { tables in
          func take(_ table: inout Table) -> [TopicPartition: Offset]? {
            guard table.isChanged else { return nil }
            table.isChanged = false
            return table.offsets
          }
          let taken = (take(&tables.recoveryPoints), take(&tables.logStartOffsets), take(&tables.highWatermarks))
          // From here on a crash may bring back the old file or the new one, so that `lower` and `forget` have to reckon with both.
          if let recovery = taken.0 { tables.writtenRecoveryPoints.merge(recovery) { max($0, $1) } }
          if let starts = taken.1 { tables.writtenLogStartOffsets.merge(starts) { max($0, $1) } }
          return taken
        }
        do throws(DiskError) {
          if let recovery { try self.write(recovery, LogDirectoryFile.recoveryPoints) }
          if let starts { try self.write(starts, LogDirectoryFile.logStartOffsets) }
          if let marks { try self.write(marks, LogDirectoryFile.highWatermarks) }
          if recovery != nil || starts != nil || marks != nil { try self.names.sync() }
        } catch {
          self.tables.withLock { tables in
            if recovery != nil { tables.recoveryPoints.isChanged = true }
            if starts != nil { tables.logStartOffsets.isChanged = true }
            if marks != nil { tables.highWatermarks.isChanged = true }
          }
          throw .disk(error)
        }
        self.tables.withLock { tables in
          if let recovery { tables.writtenRecoveryPoints = recovery }
          if let starts { tables.writtenLogStartOffsets = starts }
          if recovery != nil, starts != nil { tables.isInDoubt = false }
        }
      }
    }
    try result.get()
  }

  private func write(_ offsets: [TopicPartition: Offset], _ name: String) throws(DiskError) {
    try SmallFile.replace(self.directory + "/" + name, with: CheckpointText.text(of: offsets), on: self.disk)
  }
}

package import Environment
import LogCore

/// Small files that are read and replaced as a whole.
package enum SmallFile {
  /// No file of this kind comes near this size; one that does is not ours, and is not read into memory.
  static let byteCountMax: Int64 = 256 << 20

  /// The contents, or nil if there is no such file.
  package static func read(_ path: String, on disk: some DiskPort) throws(DiskError) -> [UInt8]? {
    do throws(DiskError) {
      let file = try disk.open(path, .read)
      let byteCount = try file.byteCount()
      guard byteCount <= self.byteCountMax else { throw DiskError(.io, operation: "read the whole of", path: path) }
      return try self.bytes(of: file, at: 0, count: Int(byteCount))
    } catch {
      if error.kind == .notFound { return nil }
      throw error
    }
  }

  package static func readText(_ path: String, on disk: some DiskPort) throws(DiskError) -> String? {
    try self.read(path, on: disk).map { String(decoding: $0, as: UTF8.self) }
  }

  /// `count` bytes from `position`; fewer at the end of the file.
  package static func bytes(of file: some DiskFile, at position: Int64, count: Int) throws(DiskError) -> [UInt8] {
    var failure: DiskError?
    let bytes = [UInt8](unsafeUninitializedCapacity: count) { buffer, initialized in
      do throws(DiskError) {
        initialized = try file.read(into: UnsafeMutableRawBufferPointer(buffer), at: position)
      } catch {
        failure = error
      }
    }
    if let failure { throw failure }
    return bytes
  }

  package static func write(_ bytes: [UInt8], to file: some DiskFile, at position: Int64) throws(DiskError) {
    var failure: DiskError?
    bytes.withUnsafeBytes { buffer in
      do throws(DiskError) { try file.write(buffer, at: position) } catch { failure = error }
    }
    if let failure { throw failure }
  }

  /// Puts `bytes` in the place of what stands at `path`: after a crash it is the old or the new, whole. The new name is
  /// durable once the directory is synced, which is left to the caller.
  package static func replace(_ path: String, with bytes: [UInt8], on disk: some DiskPort, synced: Bool = true) throws(DiskError) {
    let temporary = path + LogFileName.temporarySuffix
    let file = try disk.open(temporary, .create)
    try file.truncate(to: 0)
    try self.write(bytes, to: file, at: 0)
    if synced { try file.sync() }
    try disk.rename(temporary, to: path)
  }

  package static func replace(_ path: String, with text: String, on disk: some DiskPort) throws(DiskError) {
    try self.replace(path, with: Array(text.utf8), on: disk)
  }
}

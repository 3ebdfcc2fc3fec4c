
/// The file system as the storage engine sees it. Paths are absolute or relative to the process, separated by `/`.
///
/// What survives a loss of power, and nothing else: the contents of a file that were written before a `sync` that returned,
/// and the names in a directory as they were before a `syncDirectory` that returned. A crash of the process alone
/// (`kill -9`) loses nothing that was written.
///
/// A sync that failed is no better the second time: what it lost can still be read, and the next sync passes it over and returns. Only what
/// is written again is synced again.
package protocol DiskPort: Sendable {
  associatedtype File: DiskFile
  associatedtype Lock: Sendable

  func open(_ path: String, _ mode: OpenMode) throws(DiskError) -> File
  /// The entries of a directory, without `.` and `..`, in no particular order.
  func list(_ directory: String) throws(DiskError) -> [DirectoryEntry]
  /// What stands at `path`, or nil.
  func kind(of path: String) throws(DiskError) -> EntryKind?
  /// The size of the file at `path` in bytes, without opening it.
  func byteCount(of path: String) throws(DiskError) -> Int64
  /// Creates the directory and those above it; no error if it is there.
  func createDirectory(_ path: String) throws(DiskError)
  /// Replaces what stands at `to`, atomically.
  func rename(_ from: String, to: String) throws(DiskError)
  func removeFile(_ path: String) throws(DiskError)
  /// Removes a directory and all below it.
  func removeTree(_ path: String) throws(DiskError)
  /// Makes the names in a directory durable. Blocks.
  func syncDirectory(_ path: String) throws(DiskError)
  /// Makes everything that was written to the file system which holds `path` durable, contents and names. Blocks; for many files at
  /// once it is quicker than a `sync` of each.
  func syncFileSystem(of path: String) throws(DiskError)
  /// Takes an exclusive lock on the file (created if missing), held until the value is released.
  /// Throws `.locked` if another process has it.
  func lock(_ path: String) throws(DiskError) -> Lock
  /// The room of the file system that holds `path`.
  func space(at path: String) throws(DiskError) -> DiskSpace
}

/// The room of a file system, in bytes.
package struct DiskSpace: Sendable, Hashable {
  /// What it holds in all, used or not.
  package var totalByteCount: Int64
  /// What this process can still write. Less than what is free where the system keeps a reserve.
  package var usableByteCount: Int64

  package init(totalByteCount: Int64, usableByteCount: Int64) {
    (self.totalByteCount, self.usableByteCount) = (totalByteCount, usableByteCount)
  }
}

/// An open file. All calls may come from any thread; positions are explicit, so nobody shares a cursor.
/// The descriptor is closed when the last reference goes.
package protocol DiskFile: AnyObject, Sendable {
  /// The file's size in bytes.
  func byteCount() throws(DiskError) -> Int64
  /// Writes all of `bytes` at `position`. Into the page cache only: durable after `sync`.
  func write(_ bytes: UnsafeRawBufferPointer, at position: Int64) throws(DiskError)
  /// Writes `head` and then `body` as one piece at `position` (one system call): a patched batch header and the bytes after it.
  func write(_ head: UnsafeRawBufferPointer, _ body: UnsafeRawBufferPointer, at position: Int64) throws(DiskError)
  /// Reads up to `buffer.count` bytes from `position`; fewer only at the end of the file.
  func read(into buffer: UnsafeMutableRawBufferPointer, at position: Int64) throws(DiskError) -> Int
  func truncate(to byteCount: Int64) throws(DiskError)
  /// Reserves blocks up to `byteCount` without changing the file's size. A hint: does nothing where the system cannot.
  func reserve(upTo byteCount: Int64) throws(DiskError)
  /// Makes everything written before the call durable, and the size with it. Blocks: only on a work lane.
  func sync() throws(DiskError)
  /// The descriptor for `sendfile`, where there is one. Nil in simulation.
  var descriptor: CInt? { get }
}

/// What `open` does with a file that is there, or is not.
package enum OpenMode: Sendable, Hashable {
  /// Must exist; reads only.
  case read
  /// Must exist.
  case readWrite
  /// Created empty if missing.
  case create
  /// Must not exist.
  case createNew
}

/// What a name in a directory stands for.
package enum EntryKind: Sendable, Hashable { case file, directory, other }

/// One name in a directory.
package struct DirectoryEntry: Sendable, Hashable {
  package var name: String
  package var kind: EntryKind
  package init(name: String, kind: EntryKind) { (self.name, self.kind) = (name, kind) }
}

/// What went wrong with which path. `errno` is the system's number, 0 in simulation.
package struct DiskError: Error, Hashable, Sendable, CustomStringConvertible {
  package enum Kind: Hashable, Sendable {
    case notFound, alreadyExists, noSpace, readOnly, permissionDenied, locked, tooManyOpenFiles, notADirectory
    /// The device or the file system failed (EIO and anything not listed). After a failed `sync` nothing
    /// written since the last good one may be trusted.
    case io
  }
  package var kind: Kind
  package var operation: String
  package var path: String
  package var errno: Int32
  package init(_ kind: Kind, operation: String, path: String, errno: Int32 = 0) {
    (self.kind, self.operation, self.path, self.errno) = (kind, operation, path, errno)
  }

  /// The call did nothing for want of a descriptor: it may go through later, and no data is in doubt.
  package var isTransient: Bool { self.kind == .tooManyOpenFiles }

  package var description: String {
    let reason =
      switch self.kind {
      case .notFound: "no such file or directory"
      case .alreadyExists: "already exists"
      case .noSpace: "no space left on the device"
      case .readOnly: "the file system is read-only"
      case .permissionDenied: "permission denied"
      case .locked: "locked by another process"
      case .tooManyOpenFiles: "too many open files (raise the limit with ulimit -n)"
      case .notADirectory: "not a directory"
      case .io: self.errno == 0 ? "input/output error" : "error \(self.errno)"
      }
    return "cannot \(self.operation) \(self.path): \(reason)"
  }
}

internal import CPosix
package import Environment

#if canImport(Glibc)
  import Glibc
#elseif canImport(Musl)
  import Musl
#else
  import Darwin
#endif

/// The operating system's file system behind the `DiskPort`.
package struct PosixDisk: DiskPort {
  package init() {}

  package func open(_ path: String, _ mode: OpenMode) throws(DiskError) -> PosixFile {
    let flags =
      switch mode {
      case .read: O_RDONLY
      case .readWrite: O_RDWR
      case .create: O_RDWR | O_CREAT
      case .createNew: O_RDWR | O_CREAT | O_EXCL
      }
    return PosixFile(fd: try Self.descriptor(path, flags), path: path)
  }

  private static func descriptor(_ path: String, _ flags: CInt) throws(DiskError) -> CInt {
    #if canImport(Glibc)
      let fd = uninterrupted { Glibc.open(path, flags | O_CLOEXEC, 0o644) }
    #elseif canImport(Musl)
      let fd = uninterrupted { Musl.open(path, flags | O_CLOEXEC, 0o644) }
    #else
      let fd = uninterrupted { Darwin.open(path, flags | O_CLOEXEC, 0o644) }
    #endif
    guard fd >= 0 else { throw lastError("open", path) }
    return fd
  }

  package func list(_ directory: String) throws(DiskError) -> [DirectoryEntry] {
    guard let stream = opendir(directory) else { throw lastError("list", directory) }
    defer { closedir(stream) }
    var entries: [DirectoryEntry] = []
    while true {
      errno = 0
      guard let entry = readdir(stream) else {
        if errno != 0 { throw lastError("list", directory) }
        return entries
      }
      let name = withUnsafePointer(to: &entry.pointee.d_name) { pointer in
        pointer.withMemoryRebound(to: CChar.self, capacity: 1) { String(cString: $0) }
      }
      if name == "." || name == ".." { continue }
      let kind: EntryKind? =
        switch CInt(entry.pointee.d_type) {
        case CInt(DT_REG): .file
        case CInt(DT_DIR): .directory
        case CInt(DT_UNKNOWN), CInt(DT_LNK): try self.kind(of: directory + "/" + name)
        default: .other
        }
      // An entry that vanished between the two calls is not there.
      if let kind { entries.append(DirectoryEntry(name: name, kind: kind)) }
    }
  }

  package func kind(of path: String) throws(DiskError) -> EntryKind? {
    var status = stat()
    guard stat(path, &status) == 0 else {
      if errno == ENOENT { return nil }
      throw lastError("look at", path)
    }
    return switch status.st_mode & S_IFMT {
    case S_IFREG: .file
    case S_IFDIR: .directory
    default: .other
    }
  }

  package func byteCount(of path: String) throws(DiskError) -> Int64 {
    var status = stat()
    guard stat(path, &status) == 0 else { throw lastError("get the size of", path) }
    return Int64(status.st_size)
  }

  package func createDirectory(_ path: String) throws(DiskError) {
    if mkdir(path, 0o755) == 0 { return }
    switch errno {
    case EEXIST:
      guard try self.kind(of: path) == .directory else {
        throw DiskError(.notADirectory, operation: "create the directory", path: path, errno: EEXIST)
      }
    case ENOENT:
      guard let slash = path.lastIndex(of: "/"), slash > path.startIndex else { throw lastError("create the directory", path) }
      try self.createDirectory(String(path[..<slash]))
      guard mkdir(path, 0o755) == 0 || errno == EEXIST else { throw lastError("create the directory", path) }
    default:
      throw lastError("create the directory", path)
    }
  }

  package func rename(_ from: String, to: String) throws(DiskError) {
    #if canImport(Glibc)
      let result = Glibc.rename(from, to)
    #elseif canImport(Musl)
      let result = Musl.rename(from, to)
    #else
      let result = Darwin.rename(from, to)
    #endif
    guard result == 0 else { throw lastError("rename to \(to) the file", from) }
  }

  package func removeFile(_ path: String) throws(DiskError) {
    guard unlink(path) == 0 else { throw lastError("remove", path) }
  }

  package func removeTree(_ path: String) throws(DiskError) {
    for entry in try self.list(path) {
      // A symbolic link goes itself, never what it points to.
      let child = path + "/" + entry.name
      var status = stat()
      if entry.kind == .directory, lstat(child, &status) == 0, status.st_mode & S_IFMT == S_IFDIR {
        try self.removeTree(child)
      } else {
        try self.removeFile(child)
      }
    }
    guard rmdir(path) == 0 else { throw lastError("remove the directory", path) }
  }

  package func syncDirectory(_ path: String) throws(DiskError) {
    let fd = try Self.descriptor(path, O_RDONLY | O_DIRECTORY)
    defer { _ = close(fd) }
    guard uninterrupted({ fsync(fd) }) == 0 else {
      // Some file systems (network, FUSE) have nothing to sync in a directory and say so.
      if errno == EINVAL { return }
      throw lastError("sync the directory", path)
    }
  }

  package func syncFileSystem(of path: String) throws(DiskError) {
    let fd = try Self.descriptor(path, O_RDONLY | O_DIRECTORY)
    defer { _ = close(fd) }
    guard uninterrupted({ apus_sync_file_system(fd) }) == 0 else { throw lastError("sync the file system of", path) }
  }

  package func lock(_ path: String) throws(DiskError) -> PosixLock {
    let fd = try Self.descriptor(path, O_RDWR | O_CREAT)
    guard uninterrupted({ flock(fd, LOCK_EX | LOCK_NB) }) == 0 else {
      let error = lastError("lock", path)
      _ = close(fd)
      throw error
    }
    return PosixLock(fd: fd)
  }

  package func space(at path: String) throws(DiskError) -> DiskSpace {
    var (total, usable): (Int64, Int64) = (0, 0)
    guard apus_space(path, &total, &usable) == 0 else { throw lastError("get the room at", path) }
    return DiskSpace(totalByteCount: total, usableByteCount: usable)
  }
}

/// A file lock (flock), held until the last reference goes or the process ends, however it ends.
package final class PosixLock: Sendable {
  private let fd: CInt
  init(fd: CInt) { self.fd = fd }
  deinit { _ = close(self.fd) }
}

internal import CPosix
package import Environment

#if canImport(Glibc)
  import Glibc
#elseif canImport(Musl)
  import Musl
#else
  import Darwin
#endif

/// An open file of the operating system. The descriptor is closed when the last reference goes, so that a transfer which
/// still reads from it (sendfile) is safe from the file's deletion and from the limit on open files.
package final class PosixFile: DiskFile {
  private let fd: CInt
  private let path: String

  init(fd: CInt, path: String) {
    self.fd = fd
    self.path = path
  }

  deinit {
    // An error of close after writes says nothing that a sync would not have said; and the descriptor is gone either way.
    _ = close(self.fd)
  }

  package var descriptor: CInt? { self.fd }

  package func byteCount() throws(DiskError) -> Int64 {
    var status = stat()
    guard fstat(self.fd, &status) == 0 else { throw lastError("get the size of", self.path) }
    return Int64(status.st_size)
  }

  package func write(_ bytes: UnsafeRawBufferPointer, at position: Int64) throws(DiskError) {
    var (rest, position) = (bytes, position)
    while !rest.isEmpty {
      let written = uninterrupted { pwrite(self.fd, rest.baseAddress, rest.count, off_t(position)) }
      guard written > 0 else { throw self.writeError(written) }
      rest = UnsafeRawBufferPointer(rebasing: rest[written...])
      position += Int64(written)
    }
  }

  package func write(_ head: UnsafeRawBufferPointer, _ body: UnsafeRawBufferPointer, at position: Int64) throws(DiskError) {
    guard !head.isEmpty else { return try self.write(body, at: position) }
    guard !body.isEmpty else { return try self.write(head, at: position) }
    let written = withUnsafeTemporaryAllocation(of: iovec.self, capacity: 2) { vectors in
      vectors[0] = iovec(iov_base: UnsafeMutableRawPointer(mutating: head.baseAddress), iov_len: head.count)
      vectors[1] = iovec(iov_base: UnsafeMutableRawPointer(mutating: body.baseAddress), iov_len: body.count)
      return uninterrupted { pwritev(self.fd, vectors.baseAddress, 2, off_t(position)) }
    }
    guard written > 0 else { throw self.writeError(written) }
    // A short write is rare (a disk that fills up, a signal): the rest goes piece by piece.
    if written < head.count {
      try self.write(UnsafeRawBufferPointer(rebasing: head[written...]), at: position + Int64(written))
      try self.write(body, at: position + Int64(head.count))
    } else if written < head.count + body.count {
      try self.write(UnsafeRawBufferPointer(rebasing: body[(written - head.count)...]), at: position + Int64(written))
    }
  }

  private func writeError(_ result: Int) -> DiskError {
    // A write of more than nothing that writes nothing has no errno of its own.
    if result == 0 { return DiskError(.io, operation: "write to", path: self.path) }
    return lastError("write to", self.path)
  }

  package func read(into buffer: UnsafeMutableRawBufferPointer, at position: Int64) throws(DiskError) -> Int {
    var done = 0
    while done < buffer.count {
      let count = uninterrupted { pread(self.fd, buffer.baseAddress! + done, buffer.count - done, off_t(position) + off_t(done)) }
      if count < 0 { throw lastError("read", self.path) }
      if count == 0 { break }
      done += count
    }
    return done
  }

  package func truncate(to byteCount: Int64) throws(DiskError) {
    // To the size it has already, this gives blocks reserved beyond the end back to the file system.
    guard uninterrupted({ ftruncate(self.fd, off_t(byteCount)) }) == 0 else { throw lastError("truncate", self.path) }
  }

  package func reserve(upTo byteCount: Int64) throws(DiskError) {
    let size = try self.byteCount()
    guard byteCount > size else { return }
    guard uninterrupted({ apus_reserve(self.fd, size, byteCount - size) }) == 0 else {
      // A hint only: a file system that cannot reserve is as good as before.
      if errno == EOPNOTSUPP || errno == ENOSYS || errno == EINVAL { return }
      throw lastError("reserve space in", self.path)
    }
  }

  package func sync() throws(DiskError) {
    guard uninterrupted({ apus_sync_data(self.fd) }) == 0 else { throw lastError("sync", self.path) }
  }
}

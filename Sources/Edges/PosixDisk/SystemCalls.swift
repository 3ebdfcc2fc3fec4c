import Environment

#if canImport(Glibc)
  import Glibc
#elseif canImport(Musl)
  import Musl
#else
  import Darwin
#endif

/// The error for the current `errno`.
func lastError(_ operation: String, _ path: String) -> DiskError {
  let number = errno
  let kind: DiskError.Kind =
    switch number {
    case ENOENT: .notFound
    case EEXIST, ENOTEMPTY: .alreadyExists
    case ENOSPC, EDQUOT, EFBIG: .noSpace
    case EROFS: .readOnly
    case EACCES, EPERM: .permissionDenied
    case EMFILE, ENFILE: .tooManyOpenFiles
    case ENOTDIR: .notADirectory
    case EWOULDBLOCK: .locked
    default: .io
    }
  return DiskError(kind, operation: operation, path: path, errno: number)
}

/// Repeats a system call that a signal interrupted. Returns what it returned otherwise.
@inline(__always)
func uninterrupted<Result: FixedWidthInteger>(_ call: () -> Result) -> Result {
  while true {
    let result = call()
    if result == -1, errno == EINTR { continue }
    return result
  }
}

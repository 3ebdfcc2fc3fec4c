#if canImport(Glibc)
  import Glibc
#elseif canImport(Musl)
  import Musl
#else
  import Darwin
#endif

/// What the system said to a call that failed.
struct SystemFailure: Error, Hashable, CustomStringConvertible {
  var number: CInt
  var description: String { String(cString: strerror(self.number)) }
}

/// Blocking reads and writes of whole amounts.
enum Descriptor {
  static func open(_ path: String) throws(SystemFailure) -> CInt {
    #if canImport(Darwin)
      let descriptor = Darwin.open(path, O_RDONLY | O_CLOEXEC)
    #elseif canImport(Musl)
      let descriptor = Musl.open(path, O_RDONLY | O_CLOEXEC)
    #else
      let descriptor = Glibc.open(path, O_RDONLY | O_CLOEXEC)
    #endif
    guard descriptor >= 0 else { throw SystemFailure(number: errno) }
    return descriptor
  }

  /// Writes a new file, or an old one anew.
  static func create(_ path: String, _ bytes: [UInt8]) throws(SystemFailure) {
    let flags = O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC
    #if canImport(Darwin)
      let descriptor = Darwin.open(path, flags, 0o644)
    #elseif canImport(Musl)
      let descriptor = Musl.open(path, flags, 0o644)
    #else
      let descriptor = Glibc.open(path, flags, 0o644)
    #endif
    guard descriptor >= 0 else { throw SystemFailure(number: errno) }
    defer { Self.close(descriptor) }
    let result = bytes.withUnsafeBytes { bytes in
      Result { () throws(SystemFailure) in try Self.writeAll(bytes, to: descriptor) }
    }
    try result.get()
  }

  static func isDirectory(_ path: String) -> Bool {
    var status = stat()
    return stat(path, &status) == 0 && status.st_mode & S_IFMT == S_IFDIR
  }

  static func close(_ descriptor: CInt) {
    #if canImport(Darwin)
      _ = Darwin.close(descriptor)
    #elseif canImport(Musl)
      _ = Musl.close(descriptor)
    #else
      _ = Glibc.close(descriptor)
    #endif
  }

  /// Reads once; 0 at the end.
  static func read(_ descriptor: CInt, into buffer: UnsafeMutableRawBufferPointer) throws(SystemFailure) -> Int {
    while true {
      #if canImport(Darwin)
        let count = Darwin.read(descriptor, buffer.baseAddress, buffer.count)
      #elseif canImport(Musl)
        let count = Musl.read(descriptor, buffer.baseAddress, buffer.count)
      #else
        let count = Glibc.read(descriptor, buffer.baseAddress, buffer.count)
      #endif
      if count >= 0 { return count }
      try Self.recover(descriptor, Int16(POLLIN))
    }
  }

  /// The whole file. Throws `EFBIG` beyond `byteCountMax`.
  static func readAll(_ path: String, byteCountMax: Int) throws(SystemFailure) -> [UInt8] {
    let descriptor = try Self.open(path)
    defer { Self.close(descriptor) }
    var bytes: [UInt8] = []
    var chunk = [UInt8](repeating: 0, count: 1 << 20)
    while true {
      let result: Result<Int, SystemFailure> = chunk.withUnsafeMutableBytes { chunk in
        do throws(SystemFailure) { return .success(try Self.read(descriptor, into: chunk)) } catch { return .failure(error) }
      }
      let count = try result.get()
      if count == 0 { return bytes }
      guard bytes.count + count <= byteCountMax else { throw SystemFailure(number: EFBIG) }
      bytes.append(contentsOf: chunk[..<count])
    }
  }

  static func writeAll(_ bytes: UnsafeRawBufferPointer, to descriptor: CInt) throws(SystemFailure) {
    var position = 0
    while position < bytes.count {
      #if canImport(Darwin)
        let count = Darwin.write(descriptor, bytes.baseAddress! + position, bytes.count - position)
      #elseif canImport(Musl)
        let count = Musl.write(descriptor, bytes.baseAddress! + position, bytes.count - position)
      #else
        let count = Glibc.write(descriptor, bytes.baseAddress! + position, bytes.count - position)
      #endif
      if count >= 0 { position += count } else { try Self.recover(descriptor, Int16(POLLOUT)) }
    }
  }

  /// Goes on after an interruption, and waits where somebody else made the descriptor non-blocking.
  private static func recover(_ descriptor: CInt, _ events: Int16) throws(SystemFailure) {
    switch errno {
    case EINTR: return
    case EAGAIN:
      var wanted = pollfd(fd: descriptor, events: events, revents: 0)
      _ = poll(&wanted, 1, -1)
    case let number: throw SystemFailure(number: number)
    }
  }
}

import Environment

#if canImport(Glibc)
  import Glibc
#elseif canImport(Darwin)
  import Darwin
#endif

/// A blocking client on a plain socket: what it does is exactly what the server sees. Reads give up after ten seconds.
final class TestClient {
  private(set) var descriptor: CInt

  init(port: Int, receiveBufferByteCount: CInt? = nil) {
    #if canImport(Glibc)
      self.descriptor = socket(AF_INET, CInt(SOCK_STREAM.rawValue), 0)
    #else
      self.descriptor = socket(AF_INET, SOCK_STREAM, 0)
    #endif
    if var size = receiveBufferByteCount {
      setsockopt(self.descriptor, SOL_SOCKET, SO_RCVBUF, &size, socklen_t(MemoryLayout<CInt>.size))
    }
    var limit = timeval(tv_sec: 10, tv_usec: 0)
    setsockopt(self.descriptor, SOL_SOCKET, SO_RCVTIMEO, &limit, socklen_t(MemoryLayout<timeval>.size))
    var address = sockaddr_in()
    address.sin_family = sa_family_t(AF_INET)
    address.sin_port = in_port_t(port).bigEndian
    address.sin_addr.s_addr = in_addr_t(0x7F00_0001).bigEndian
    let result = withUnsafePointer(to: &address) {
      $0.withMemoryRebound(to: sockaddr.self, capacity: 1) { connect(self.descriptor, $0, socklen_t(MemoryLayout<sockaddr_in>.size)) }
    }
    precondition(result == 0, "cannot connect: \(errno)")
  }

  deinit { self.end() }

  func send(_ bytes: [UInt8]) {
    var sent = 0
    while sent < bytes.count {
      let count = bytes.withUnsafeBytes { write(self.descriptor, $0.baseAddress! + sent, bytes.count - sent) }
      if count <= 0 { return }
      sent += count
    }
  }

  /// Sends without waiting for room; returns how many bytes the system took.
  func sendWithoutWaiting(_ bytes: [UInt8]) -> Int {
    max(0, bytes.withUnsafeBytes { systemSend(self.descriptor, $0.baseAddress, $0.count, CInt(MSG_DONTWAIT)) })
  }

  /// Exactly `count` bytes; fewer if the stream ended or nothing came for ten seconds.
  func receive(_ count: Int) -> [UInt8] {
    var bytes = [UInt8](repeating: 0, count: count)
    var have = 0
    while have < count {
      let got = bytes.withUnsafeMutableBytes { read(self.descriptor, $0.baseAddress! + have, count - have) }
      if got <= 0 { break }
      have += got
    }
    return Array(bytes.prefix(have))
  }

  /// The body of one answer.
  func receiveFrame() -> [UInt8] {
    let head = self.receive(4)
    guard head.count == 4 else { return [] }
    return self.receive(head.reduce(0) { $0 << 8 | Int($1) })
  }

  /// The stream ended, by either kind of close, with nothing before the end.
  var isAtEnd: Bool {
    var byte: UInt8 = 0
    let got = read(self.descriptor, &byte, 1)
    return got == 0 || (got < 0 && errno == ECONNRESET)
  }

  func closeOutput() { shutdown(self.descriptor, CInt(SHUT_WR)) }

  /// Ends with a reset instead of a goodbye.
  func reset() {
    var option = linger(l_onoff: 1, l_linger: 0)
    setsockopt(self.descriptor, SOL_SOCKET, SO_LINGER, &option, socklen_t(MemoryLayout<linger>.size))
    self.end()
  }

  func end() {
    if self.descriptor >= 0 { close(self.descriptor) }
    self.descriptor = -1
  }
}

/// Memory of this process in bytes, as the system counts it.
func residentByteCount() -> Int {
  guard let file = fopen("/proc/self/statm", "r") else { return 0 }
  defer { fclose(file) }
  var text = [CChar](repeating: 0, count: 128)
  guard fgets(&text, 128, file) != nil else { return 0 }
  let fields = String(decoding: text.prefix { $0 != 0 }.map(UInt8.init(bitPattern:)), as: UTF8.self).split(separator: " ")
  return (Int(fields[1]) ?? 0) * Int(sysconf(CInt(_SC_PAGESIZE)))
}

/// Lets the process have as many descriptors as the system allows it.
func raiseDescriptorLimit() {
  var limit = rlimit()
  #if canImport(Glibc)
    let resource = __rlimit_resource_t(RLIMIT_NOFILE.rawValue)
  #else
    let resource = RLIMIT_NOFILE
  #endif
  getrlimit(resource, &limit)
  limit.rlim_cur = limit.rlim_max
  setrlimit(resource, &limit)
}

func sleepBriefly(_ milliseconds: UInt32 = 2) { usleep(milliseconds * 1_000) }

/// `send(2)`, whose name a method of the client hides.
private func systemSend(_ descriptor: CInt, _ bytes: UnsafeRawPointer?, _ count: Int, _ flags: CInt) -> Int {
  send(descriptor, bytes, count, flags)
}

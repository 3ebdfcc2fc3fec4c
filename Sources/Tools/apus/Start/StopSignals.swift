import Synchronization

#if canImport(Glibc)
  import Glibc
#elseif canImport(Musl)
  import Musl
#elseif canImport(Darwin)
  import Darwin
#endif

/// SIGTERM and SIGINT: the first asks the node to stop, the second ends the process where it is.
///
/// Handlers rather than a blocked signal and `sigwait`, because threads that the runtime started before could not be told to block it.
struct StopSignals {
  /// What the handler may touch: its parts are written before it is installed, and each is one atomic operation.
  private enum Handler {
    static let writeEnd = Atomic<CInt>(-1)
    static let count = Atomic<Int>(0)
  }

  private let readEnd: CInt

  /// From now on the signals wait to be taken. A peer's closed connection, which raises SIGPIPE, is no reason to end either.
  static func install() -> StopSignals {
    var ends: [CInt] = [-1, -1]
    precondition(pipe(&ends) == 0, "no pipe for signals: error \(errno)")
    Handler.writeEnd.store(ends[1], ordering: .sequentiallyConsistent)
    Handler.count.store(0, ordering: .sequentiallyConsistent)
    for number in [SIGTERM, SIGINT] {
      signal(number) { number in
        if Handler.count.add(1, ordering: .sequentiallyConsistent).oldValue > 0 { _exit(130) }
        var byte = UInt8(truncatingIfNeeded: number)
        _ = write(Handler.writeEnd.load(ordering: .sequentiallyConsistent), &byte, 1)
      }
    }
    signal(SIGPIPE, SIG_IGN)
    return StopSignals(readEnd: ends[0])
  }

  /// Waits for the first signal and returns its name. Blocks.
  func wait() -> String {
    var byte: UInt8 = 0
    while read(self.readEnd, &byte, 1) != 1 {}
    return CInt(byte) == SIGTERM ? "SIGTERM" : "SIGINT"
  }
}

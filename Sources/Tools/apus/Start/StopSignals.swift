import Synchronization

#if canImport(Glibc)
  import Glibc
#elseif canImport(Musl)
  import Musl
#elseif canImport(Darwin)
  import Darwin
#endif

/// SIGTERM and SIGINT: the first asks the node to stop. After that a SIGTERM changes nothing, for supervisors send several, and a
/// SIGINT ends the process where it is if it comes a second or more after the first signal: somebody at a keyboard has waited.
///
/// Handlers rather than a blocked signal and `sigwait`, because threads that the runtime started before could not be told to block it.
struct StopSignals {
  /// What the handler may touch: its parts are written before it is installed, and each is one atomic operation.
  private enum Handler {
    static let writeEnd = Atomic<CInt>(-1)
    /// When the first signal came, in seconds of the monotonic clock and never 0; 0 before.
    static let firstSecond = Atomic<Int>(0)

    static func now() -> Int {
      var time = timespec()
      clock_gettime(CLOCK_MONOTONIC, &time)
      return Int(time.tv_sec) + 1
    }
  }

  private let readEnd: CInt

  /// From now on the signals wait to be taken. A peer's closed connection, which raises SIGPIPE, is no reason to end either.
  static func install() -> StopSignals {
    var ends: [CInt] = [-1, -1]
    precondition(pipe(&ends) == 0, "no pipe for signals: error \(errno)")
    Handler.writeEnd.store(ends[1], ordering: .sequentiallyConsistent)
    Handler.firstSecond.store(0, ordering: .sequentiallyConsistent)
    for number in [SIGTERM, SIGINT] {
      signal(number) { number in
        let now = Handler.now()
        let first = Handler.firstSecond.compareExchange(expected: 0, desired: now, ordering: .sequentiallyConsistent)
        if !first.exchanged {
          // Whole seconds: a difference of 2 is more than one.
          if number == SIGINT, now - first.original >= 2 { _exit(130) }
          return
        }
        var byte = UInt8(truncatingIfNeeded: number)
        _ = write(Handler.writeEnd.load(ordering: .sequentiallyConsistent), &byte, 1)
      }
    }
    signal(SIGPIPE, SIG_IGN)
    return StopSignals(readEnd: ends[0])
  }

  /// Waits for the first signal and returns its name, or for `wake` and returns nil. Blocks.
  func wait() -> String? {
    var byte: UInt8 = 0
    while read(self.readEnd, &byte, 1) != 1 {}
    if byte == 0 { return nil }
    return CInt(byte) == SIGTERM ? "SIGTERM" : "SIGINT"
  }

  /// Ends a `wait`: the process itself has something to see to. From any thread.
  static func wake() {
    var byte: UInt8 = 0
    while write(Handler.writeEnd.load(ordering: .sequentiallyConsistent), &byte, 1) == -1, errno == EINTR {}
  }
}

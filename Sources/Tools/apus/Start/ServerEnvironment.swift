import Base
import Environment
import Model
import NIOCore
import NIONetwork
import NIOServer
import PosixDisk

#if canImport(Glibc)
  import Glibc
#elseif canImport(Musl)
  import Musl
#elseif canImport(Darwin)
  import Darwin
#endif

/// The real world: files, the system's clocks, event-loop timers, threads, and the system's randomness.
struct ServerEnvironment: Environment {
  let disk = PosixDisk()
  let network: NIONetwork
  let lanes: WorkLanes
  /// Where timers run that are set by threads which have no event loop.
  let loop: any EventLoop

  func now() -> Instant { Instant(nanoseconds: Int64(clamping: NIODeadline.now().uptimeNanoseconds)) }

  func wallClock() -> Timestamp {
    var time = timespec()
    clock_gettime(CLOCK_REALTIME, &time)
    return Timestamp(Int64(time.tv_sec) * 1_000 + Int64(time.tv_nsec) / 1_000_000)
  }

  func schedule(after delay: Duration, _ body: @escaping @Sendable () -> Void) -> NIOTimer {
    NIOTimer(after: delay, orOn: self.loop, body)
  }

  func submit(to lane: WorkLane, _ body: @escaping @Sendable () -> Void) { self.lanes.submit(to: lane, body) }

  func entropy() -> UInt64 { UInt64.random(in: .min ... .max) }
}

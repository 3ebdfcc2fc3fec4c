import Base
import Environment
package import NIOCore
import NIOPosix

/// A timer on an event loop.
package struct NIOTimer: TimerHandle {
  private let scheduled: Scheduled<Void>

  /// Runs `body` on the calling thread's own event loop, or on `loop` if it has none, after `delay`.
  package init(after delay: Duration, orOn loop: any EventLoop, _ body: @escaping @Sendable () -> Void) {
    let loop = MultiThreadedEventLoopGroup.currentEventLoop ?? loop
    self.scheduled = loop.scheduleTask(in: .nanoseconds(max(0, delay.wholeNanoseconds)), body)
  }

  package func cancel() { self.scheduled.cancel() }
}

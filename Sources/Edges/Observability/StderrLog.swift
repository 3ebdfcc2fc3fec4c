package import Logging
import Model
import Synchronization

#if canImport(Glibc)
  import Glibc
#elseif canImport(Musl)
  import Musl
#elseif canImport(Darwin)
  import Darwin
#endif

/// Writes each event of swift-log as one line to standard error, whole: lines of several threads do not mix.
///
/// A line is one `write`. Standard error that takes nothing more (a full pipe) would stop the thread that logs, so lines are counted and
/// dropped while that lasts, and the number is reported with the next line that goes out.
package struct StderrLog: LogHandler {
  package var metadata: Logger.Metadata = [:]
  private let threshold: LogThreshold
  /// A level of this logger's own.
  private var ownLevel: Logger.Level?
  private let output: LogOutput

  package init(level: Logger.Level, output: LogOutput = .standardError) { self.init(threshold: LogThreshold(level), output: output) }

  /// - Parameter threshold: the level, which may be changed while loggers use it.
  package init(threshold: LogThreshold, output: LogOutput = .standardError) {
    self.threshold = threshold
    self.output = output
  }

  package var logLevel: Logger.Level {
    get { self.ownLevel ?? self.threshold.level }
    set { self.ownLevel = newValue }
  }

  package subscript(metadataKey key: String) -> Logger.Metadata.Value? {
    get { self.metadata[key] }
    set { self.metadata[key] = newValue }
  }

  package func log(event: LogEvent) {
    var fields = self.metadata
    if let own = event.metadata { fields.merge(own) { _, own in own } }
    let sorted = fields.map { (key: $0.key, value: "\($0.value)") }.sorted { $0.key < $1.key }
    self.output.write(level: event.level, message: event.message.description, fields: sorted)
  }
}

/// Where lines go: a descriptor, with a lock around it.
package final class LogOutput: Sendable {
  package static let standardError = LogOutput(descriptor: 2)

  private let descriptor: CInt
  private let dropped = Mutex(0)

  package init(descriptor: CInt) { self.descriptor = descriptor }

  package func write(level: Logger.Level, message: String, fields: [(key: String, value: String)]) {
    let line = LogLine(time: Self.now(), level: level, message: message, fields: fields).bytes
    self.dropped.withLock { dropped in
      if dropped > 0 {
        let note = LogLine(time: Self.now(), level: .warning, message: "lines of the log were dropped", fields: [("count", "\(dropped)")])
        guard self.put(note.bytes) else { return dropped += 1 }
        dropped = 0
      }
      if !self.put(line) { dropped += 1 }
    }
  }

  /// False if the descriptor takes nothing now. A part that went out is followed by the rest.
  private func put(_ bytes: [UInt8]) -> Bool {
    var sent = 0
    while sent < bytes.count {
      var ready = pollfd(fd: self.descriptor, events: Int16(POLLOUT), revents: 0)
      // A line that has begun is worth waiting a moment for; one that has not is not.
      guard poll(&ready, 1, sent == 0 ? 0 : 100) > 0 else { return sent > 0 }
      #if canImport(Darwin)
        let count = bytes.withUnsafeBytes { Darwin.write(self.descriptor, $0.baseAddress! + sent, bytes.count - sent) }
      #elseif canImport(Musl)
        let count = bytes.withUnsafeBytes { Musl.write(self.descriptor, $0.baseAddress! + sent, bytes.count - sent) }
      #else
        let count = bytes.withUnsafeBytes { Glibc.write(self.descriptor, $0.baseAddress! + sent, bytes.count - sent) }
      #endif
      if count > 0 { sent += count } else if errno != EINTR { return sent > 0 }
    }
    return true
  }

  private static func now() -> Timestamp {
    var time = timespec()
    clock_gettime(CLOCK_REALTIME, &time)
    return Timestamp(Int64(time.tv_sec) * 1_000 + Int64(time.tv_nsec) / 1_000_000)
  }
}

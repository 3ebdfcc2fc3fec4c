/// The levels of Kafka's loggers (KIP-412), the least talkative first.
package enum LogLevel: String, Sendable, Hashable, CaseIterable {
  case fatal = "FATAL"
  case error = "ERROR"
  case warn = "WARN"
  case info = "INFO"
  case debug = "DEBUG"
  case trace = "TRACE"
}

/// The process's loggers, as far as a broker shows and changes them. A change lasts as long as the process.
package protocol LogLevels: Sendable {
  /// By name. Kafka's tools expect one named `root`.
  var loggers: [(name: String, level: LogLevel)] { get }
  /// `logger` is one of `loggers`.
  func set(_ level: LogLevel, of logger: String)
}

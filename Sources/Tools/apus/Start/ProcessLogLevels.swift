import Broker
import Logging
import Observability

/// The process's one logger, under the name that Kafka gives the one above all: `root`.
struct ProcessLogLevels: LogLevels {
  let threshold: LogThreshold

  var loggers: [(name: String, level: LogLevel)] { [("root", Self.level(self.threshold.level))] }

  func set(_ level: LogLevel, of logger: String) { self.threshold.level = Self.level(level) }

  /// Kafka has no level between WARN and INFO: what is more than a warning's silence counts as INFO.
  private static func level(_ level: Logger.Level) -> LogLevel {
    switch level {
    case .trace: .trace
    case .debug: .debug
    case .info, .notice: .info
    case .warning: .warn
    case .error: .error
    case .critical: .fatal
    }
  }

  private static func level(_ level: LogLevel) -> Logger.Level {
    switch level {
    case .trace: .trace
    case .debug: .debug
    case .info: .info
    case .warn: .warning
    case .error: .error
    case .fatal: .critical
    }
  }
}

/// What Kafka calls a config's type, with the numbers DescribeConfigs carries (KIP-569).
package enum ConfigType: Int8, Sendable, Hashable {
  case boolean = 1, string = 2, int = 3, short = 4, long = 5, double = 6, list = 7, `class` = 8, password = 9

  /// Kafka's spelling in its error messages.
  package var name: String {
    switch self {
    case .boolean: "BOOLEAN"
    case .string: "STRING"
    case .int: "INT"
    case .short: "SHORT"
    case .long: "LONG"
    case .double: "DOUBLE"
    case .list: "LIST"
    case .class: "CLASS"
    case .password: "PASSWORD"
    }
  }
}

/// What values a config allows beyond its type.
package enum ConfigValidator: Sendable, Hashable {
  case any
  case range(ClosedRange<Int64>)
  case atLeast(Int64)
  /// A real number within bounds, both included.
  case fraction(Double, Double)
  case oneOf([String])
  /// Every element of a list is one of these.
  case elements([String])
  /// `*`, or `partition:broker` pairs.
  case throttledReplicas
}

/// One configuration key: what it is called, what it may hold, and what it means here.
package struct ConfigDefinition: Sendable, Hashable {
  /// What Apus does with a key of Kafka's `server.properties`.
  package enum Status: Sendable, Hashable {
    case used
    /// Known and checked, but without effect. The reason is one clause that reads well after "has no effect: ".
    case accepted(String)
    /// Ignoring it would be unsafe or surprising, so only the default value is taken. The reason as above.
    case unsupported(String)
  }

  package var name: String
  package var type: ConfigType
  /// Nil is Kafka's `null`: not set.
  package var defaultValue: String?
  package var validator: ConfigValidator
  package var status: Status
  /// Whether IncrementalAlterConfigs may change it while the broker runs. Always true for topic configs.
  package var isDynamic: Bool
  package var documentation: String

  package init(
    _ name: String, _ type: ConfigType, _ defaultValue: String?, _ validator: ConfigValidator = .any,
    status: Status = .used, isDynamic: Bool = false, _ documentation: String
  ) {
    self.name = name
    self.type = type
    self.defaultValue = defaultValue
    self.validator = validator
    self.status = status
    self.isDynamic = isDynamic
    self.documentation = documentation
  }

  /// Passwords are never shown or logged.
  package var isSensitive: Bool { self.type == .password }
}

/// A value that a config does not take. `description` reads as Kafka's clients and tools are used to.
package struct ConfigError: Error, Sendable, Hashable, CustomStringConvertible {
  package var name: String
  package var reason: String
  package init(_ name: String, _ reason: String) { (self.name, self.reason) = (name, reason) }
  package var description: String { self.reason }

  static func invalid(_ name: String, _ value: String, _ why: String) -> ConfigError {
    ConfigError(name, "Invalid value \(value) for configuration \(name): \(why)")
  }
}

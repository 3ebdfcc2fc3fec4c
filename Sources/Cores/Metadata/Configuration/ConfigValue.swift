/// Typed readings of a config's text, by Kafka's rules: surrounding white space does not count, booleans ignore case, lists are
/// separated by commas.
extension ConfigDefinition {
  /// Checks type and range. Nothing is returned: the text itself is what is stored and shown.
  package func validate(_ text: String) throws(ConfigError) {
    switch self.type {
    case .boolean: _ = try self.boolean(text)
    case .int: try self.checkRange(try self.integer(text, Int64(Int32.min)...Int64(Int32.max)), text)
    case .short: try self.checkRange(try self.integer(text, Int64(Int16.min)...Int64(Int16.max)), text)
    case .long: try self.checkRange(try self.integer(text, Int64.min...Int64.max), text)
    case .double: _ = try self.double(text)
    case .list: try self.checkElements(text)
    case .string, .class, .password:
      if case .oneOf(let allowed) = self.validator, !allowed.contains(text) {
        throw self.invalid(text, "String must be one of: \(allowed.joined(separator: ", "))")
      }
    }
  }

  package func boolean(_ text: String) throws(ConfigError) -> Bool {
    switch trimmed(text).lowercased() {
    case "true": return true
    case "false": return false
    default: throw self.invalid(text, "Expected value to be either true or false")
    }
  }

  /// The value of an integer config of any width.
  package func integer(_ text: String) throws(ConfigError) -> Int64 {
    let value = try self.integer(text, Int64.min...Int64.max)
    try self.checkRange(value, text)
    return value
  }

  package func double(_ text: String) throws(ConfigError) -> Double {
    guard let value = Double(trimmed(text)), !value.isNaN else {
      throw self.invalid(text, "Not a number of type \(self.type.name)")
    }
    if case .fraction(let low, let high) = self.validator {
      if value < low { throw self.invalid(text, "Value must be at least \(low)") }
      if value > high { throw self.invalid(text, "Value must be no more than \(high)") }
    }
    return value
  }

  private func integer(_ text: String, _ width: ClosedRange<Int64>) throws(ConfigError) -> Int64 {
    guard let value = Int64(trimmed(text)), width.contains(value) else {
      throw self.invalid(text, "Not a number of type \(self.type.name)")
    }
    return value
  }

  private func checkRange(_ value: Int64, _ text: String) throws(ConfigError) {
    let range: ClosedRange<Int64>
    switch self.validator {
    case .range(let bounds): range = bounds
    case .atLeast(let low): range = low...Int64.max
    case .any, .fraction, .oneOf, .elements, .throttledReplicas: return
    }
    if value < range.lowerBound { throw self.invalid(text, "Value must be at least \(range.lowerBound)") }
    if value > range.upperBound { throw self.invalid(text, "Value must be no more than \(range.upperBound)") }
  }

  private func checkElements(_ text: String) throws(ConfigError) {
    if self.validator == .throttledReplicas, ThrottledReplicas(text) == nil {
      throw self.invalid(
        text,
        "\(self.name) must be the literal '*' or a list of replicas in the following format: "
          + "[partitionId]:[brokerId],[partitionId]:[brokerId],...")
    }
    guard case .elements(let allowed) = self.validator else { return }
    for element in configList(text) where !allowed.contains(element) {
      throw self.invalid(element, "String must be one of: \(allowed.joined(separator: ", "))")
    }
  }

  private func invalid(_ text: String, _ why: String) -> ConfigError {
    .invalid(self.name, self.isSensitive ? "[hidden]" : text, why)
  }
}

/// The elements of a list config. Blank text is the empty list.
package func configList(_ text: String) -> [String] {
  let whole = trimmed(text)
  if whole.isEmpty { return [] }
  return whole.split(separator: ",", omittingEmptySubsequences: false).map { trimmed($0) }
}

/// `text` without leading and trailing white space and control characters (Java's `trim`).
func trimmed(_ text: some StringProtocol) -> String {
  let bytes = Array(text.utf8)
  guard let first = bytes.firstIndex(where: { $0 > 0x20 }), let last = bytes.lastIndex(where: { $0 > 0x20 }) else { return "" }
  return String(decoding: bytes[first...last], as: UTF8.self)
}

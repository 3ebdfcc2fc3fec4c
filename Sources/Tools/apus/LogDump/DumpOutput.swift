import JSON

/// Why a file could not be read to its end.
struct DumpFailure: Error {
  var position: Int64?
  var reason: String
  init(_ reason: String, at position: Int64? = nil) { (self.reason, self.position) = (reason, position) }
  init(_ failure: SystemFailure) { self.init("it cannot be read: \(failure)") }
}

/// Where dumps go: lines of text, or JSON objects a line.
struct DumpOutput: ~Copyable {
  let isJSON: Bool
  private(set) var hasFailed = false
  private var output: StandardOutput

  init(isJSON: Bool, descriptor: CInt = 1) {
    self.isJSON = isJSON
    self.output = StandardOutput(descriptor: descriptor)
  }

  mutating func begin(_ path: String) {
    if self.isJSON { self.object("file", [("path", .string(path))]) } else { self.output.line("file \(path)") }
  }

  mutating func separate() { if !self.isJSON { self.output.line("") } }

  /// One thing found: as an object with `type` in front, or as a line.
  mutating func emit(_ type: String, _ members: [(String, JSONValue)], text: @autoclosure () -> String) {
    if self.isJSON { self.object(type, members) } else { self.output.line(text()) }
  }

  private mutating func object(_ type: String, _ members: [(String, JSONValue)]) {
    self.output.append { output in
      JSONValue.object([("type", .string(type))] + members).append(to: &output)
      output.append(UInt8(ascii: "\n"))
    }
  }

  /// Something that is not as it must be. Shown where it was found, and to the person.
  mutating func corrupt(_ path: String, position: Int64?, _ reason: String) {
    self.hasFailed = true
    let place = position.map { " at position \($0)" } ?? ""
    self.emit(
      "corrupt", [("path", .string(path)), ("position", position.map(JSONValue.integer) ?? .null), ("reason", .string(reason))],
      text: "CORRUPT\(place): \(reason)")
    StandardError.line("Error: \(path)\(place): \(reason)")
  }

  mutating func flush() { self.output.flush() }
}

import JSON

/// Why a file could not be read to its end.
struct DumpFailure: Error {
  enum Kind: String {
    /// Its bytes are not what they must be.
    case corrupt
    /// The system does not let it be read.
    case unreadable
    /// Its name is none of a broker's files, so that nothing can be said of its bytes.
    case unknown
  }

  var kind: Kind
  var position: Int64?
  var reason: String

  init(_ reason: String, at position: Int64? = nil, kind: Kind = .corrupt) {
    (self.reason, self.position, self.kind) = (reason, position, kind)
  }
  init(_ failure: SystemFailure) { self.init("it cannot be read: \(failure)", kind: .unreadable) }
}

/// Where dumps go: lines of text, or JSON objects a line.
struct DumpOutput: ~Copyable {
  let isJSON: Bool
  /// Something was corrupt, or could not be read.
  private(set) var hasFailed = false
  /// A file's name said nothing.
  private(set) var hasUnknown = false
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
    self.report(path, DumpFailure(reason, at: position))
  }

  mutating func report(_ path: String, _ failure: DumpFailure) {
    if failure.kind == .unknown { self.hasUnknown = true } else { self.hasFailed = true }
    let place = failure.position.map { " at position \($0)" } ?? ""
    let reason = failure.reason
    self.emit(
      failure.kind.rawValue,
      [("path", .string(path)), ("position", failure.position.map(JSONValue.integer) ?? .null), ("reason", .string(reason))],
      text: "\(failure.kind.rawValue.uppercased())\(place): \(reason)")
    StandardError.line("Error: \(path)\(place): \(reason)")
  }

  mutating func flush() { self.output.flush() }
}

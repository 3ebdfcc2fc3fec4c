/// Reads a schema file into a `Schema`; `check` then holds it against the rules that need the whole.
struct SchemaParser {
  private let file: String
  private let tokens: [Token]
  private var index = 0
  /// The versions of the whole file, known once its head is read.
  private var versions = VersionRange(first: 0, last: 0)
  /// The structures of the message being read, in the order of their appearance.
  private var structures: [Structure] = []

  private init(source: String, file: String) throws(SchemaError) {
    self.file = file
    self.tokens = try wiregen.tokens(of: source, file: file)
  }

  /// Parses and checks `source`; `file` is its name in errors.
  static func parse(_ source: String, file: String) throws(SchemaError) -> Schema {
    var parser = try SchemaParser(source: source, file: file)
    let schema = try parser.schema()
    try SchemaChecker(schema: schema, file: file).check()
    return schema
  }

  // MARK: The file

  private mutating func schema() throws(SchemaError) -> Schema {
    self.skipLines()
    let head = self.token
    let kind = try self.word("'api', 'metadata' or 'record'")
    var number = 0
    switch kind {
    case "api", "metadata": number = try self.integer("the \(kind == "api" ? "API key" : "record type")", 0...Int(Int16.max))
    case "record": break
    default: throw self.error("a schema begins with 'api', 'metadata' or 'record', not '\(kind)'", at: head)
    }
    let name = try self.name("the name of the schema")
    try self.endLine()
    try self.keyword("versions")
    let versionsToken = self.token
    let range = try self.word("a range of versions")
    guard !range.hasSuffix("+"), let versions = Self.range(range, within: VersionRange(first: 0, last: Int(Int16.max))) else {
      throw self.error("versions are 'N' or 'N-M' with N not above M, not '\(range)'", at: versionsToken)
    }
    self.versions = versions
    try self.endLine()
    let firstFlexible = try self.flexible()
    let result: Schema.Kind
    switch kind {
    case "api":
      let request = try self.message("request", name: name + "Request")
      let response = try self.message("response", name: name + "Response")
      result = .api(key: number, request: request, response: response)
    case "metadata": result = .metadata(type: number, try self.message("fields", name: name))
    default: result = .record(try self.message("fields", name: name))
    }
    self.skipLines()
    guard self.token.kind == .fileEnd else { throw self.error("expected the end of the file, not \(self.token.description)") }
    return Schema(name: name, versions: versions, firstFlexible: firstFlexible, kind: result)
  }

  private mutating func flexible() throws(SchemaError) -> Int? {
    try self.keyword("flexible")
    let token = self.token
    let text = try self.word("'none' or the first flexible version")
    try self.endLine()
    if text == "none" { return nil }
    guard text.hasSuffix("+"), let first = Int(text.dropLast()), first >= 0 else {
      throw self.error("flexible is 'none' or 'N+', not '\(text)'", at: token)
    }
    return first
  }

  private mutating func message(_ keyword: String, name: String) throws(SchemaError) -> Message {
    self.skipLines()
    let line = self.token.line
    try self.keyword(keyword)
    self.structures = []
    let fields = try self.body(enclosing: self.versions, isMessage: true)
    return Message(root: Structure(name: name, fields: fields, line: line), structures: self.structures)
  }

  // MARK: Structures and fields

  /// `{`, fields and (in a message) shared structures one a line, `}`.
  private mutating func body(enclosing: VersionRange, isMessage: Bool = false) throws(SchemaError) -> [Field] {
    try self.mark("{")
    try self.endLine()
    var fields: [Field] = []
    while true {
      self.skipLines()
      if self.token.kind == .mark("}") { break }
      if isMessage, self.token.kind == .word("struct"), self.tokens[self.index + 1].kind != .mark(":") {
        self.index += 1
        let line = self.token.line
        let name = try self.name("the name of the structure")
        let place = self.structures.count
        let body = try self.body(enclosing: self.versions)
        self.structures.insert(Structure(name: name, fields: body, line: line), at: place)
      } else {
        fields.append(try self.field(enclosing: enclosing))
      }
    }
    try self.mark("}")
    try self.endLine()
    return fields
  }

  private mutating func field(enclosing: VersionRange) throws(SchemaError) -> Field {
    let line = self.token.line
    let name = try self.name("a field's name")
    try self.mark(":")
    var isArray = false
    if self.token.kind == .mark("[") {
      isArray = true
      self.index += 1
    }
    let element = try self.elementType()
    if isArray { try self.mark("]") }
    var field = Field(
      name: name, type: isArray ? .array(element) : element, versions: enclosing, nullable: nil, tag: nil, isIgnorable: false,
      defaultValue: .natural, line: line)
    let isAlwaysNullable = self.token.kind == .mark("?")
    if isAlwaysNullable { self.index += 1 }
    try self.attributes(of: &field, enclosing: enclosing)
    if isAlwaysNullable {
      if field.nullable != nil { throw self.error("'?' and 'nullable' say the same twice", line: line) }
      field.nullable = field.versions
    }
    if self.token.kind == .mark("{") {
      guard case .structure(let structure) = element else {
        throw self.error("only a structure has fields of its own, '\(name)' is none", line: line)
      }
      let place = self.structures.count
      let body = try self.body(enclosing: field.versions)
      self.structures.insert(Structure(name: structure, fields: body, line: line), at: place)
    } else {
      try self.endLine()
    }
    return field
  }

  private mutating func elementType() throws(SchemaError) -> FieldType {
    let token = self.token
    let word = try self.word("a type")
    if let primitive = FieldType.primitives[word] { return primitive }
    guard word.first?.isUppercase == true else { throw self.error("unknown type '\(word)'", at: token) }
    return .structure(word)
  }

  /// What follows the type, on the same line and in any order.
  private mutating func attributes(of field: inout Field, enclosing: VersionRange) throws(SchemaError) {
    var seen: Set<String> = []
    func once(_ attribute: String) throws(SchemaError) {
      if !seen.insert(attribute).inserted { throw self.error("\(attribute) is given twice") }
    }
    var nullable: (range: String, token: Token)?
    while true {
      let token = self.token
      switch token.kind {
      case .word("ignorable"):
        try once("ignorable")
        self.index += 1
        field.isIgnorable = true
      case .word("tag"):
        try once("tag")
        self.index += 1
        field.tag = try self.integer("the tag", 0...Int(UInt16.max))
      case .word("mirrors"):
        try once("mirrors")
        self.index += 1
        field.mirror = try self.mirror(of: field)
      case .word("nullable"):
        try once("nullable")
        self.index += 1
        let rangeToken = self.token
        nullable = (try self.word("the versions in which the field may be null"), rangeToken)
      case .word(let word):
        try once("the range of versions")
        guard let range = Self.range(word, within: self.versions) else {
          throw self.error("'\(word)' is neither an attribute nor a range of the schema's versions", at: token)
        }
        guard enclosing.contains(range) else {
          let bounds = "\(enclosing.first)-\(enclosing.last)"
          throw self.error("versions \(word) are not among those of what encloses the field (\(bounds))", at: token)
        }
        self.index += 1
        field.versions = range
      case .mark("="):
        try once("the default")
        self.index += 1
        field.defaultValue = try self.defaultValue(of: field)
      case .mark, .text, .lineEnd, .fileEnd:
        guard let nullable else { return }
        guard let range = Self.range(nullable.range, within: self.versions), field.versions.contains(range) else {
          throw self.error("'\(nullable.range)' is no range of the field's versions", at: nullable.token)
        }
        field.nullable = range
        return
      }
    }
  }

  /// What follows `mirrors`: `request`, or paths of fields; nothing stands for the field of the same name.
  private mutating func mirror(of field: Field) throws(SchemaError) -> Mirror {
    if self.token.kind == .word("request") {
      self.index += 1
      return .request
    }
    guard case .word(let word) = self.token.kind, word.first?.isUppercase == true else { return .fields([[field.name]]) }
    var paths: [[String]] = []
    repeat {
      if !paths.isEmpty { self.index += 1 }
      var path = [try self.name("a field of the request")]
      while self.token.kind == .mark(".") {
        self.index += 1
        path.append(try self.name("a field of the request"))
      }
      paths.append(path)
    } while self.token.kind == .mark(",")
    return .fields(paths)
  }

  private mutating func defaultValue(of field: Field) throws(SchemaError) -> DefaultValue {
    let token = self.token
    if case .text(let text) = token.kind {
      self.index += 1
      guard field.type == .string else { throw self.error("a text is no default for '\(field.name)'", at: token) }
      return .text(text)
    }
    let word = try self.word("a default")
    switch (word, field.type) {
    case ("null", _): return .null
    case ("true", .bool): return .boolean(true)
    case ("false", .bool): return .natural
    case (_, let type):
      guard let range = type.integerRange, let value = Int64(word), range.contains(value) else {
        throw self.error("'\(word)' is no default for '\(field.name)'", at: token)
      }
      return value == 0 ? .natural : .integer(value)
    }
  }

  /// `N`, `N-M` or `N+`; nil if it is neither or not within `bounds`.
  private static func range(_ text: String, within bounds: VersionRange) -> VersionRange? {
    let result: VersionRange
    if text.hasSuffix("+"), let first = Int(text.dropLast()) {
      result = VersionRange(first: first, last: bounds.last)
    } else {
      let ends = text.split(separator: "-", omittingEmptySubsequences: false).map { Int($0) }
      guard ends.count <= 2, let first = ends[0], let last = ends[ends.count - 1] else { return nil }
      result = VersionRange(first: first, last: last)
    }
    return result.first <= result.last && bounds.contains(result) ? result : nil
  }

  // MARK: Tokens

  private var token: Token { self.tokens[self.index] }

  private mutating func skipLines() { while self.token.kind == .lineEnd { self.index += 1 } }

  private mutating func word(_ expected: String) throws(SchemaError) -> String {
    guard case .word(let word) = self.token.kind else { throw self.error("expected \(expected), not \(self.token.description)") }
    self.index += 1
    return word
  }

  private mutating func name(_ expected: String) throws(SchemaError) -> String {
    let token = self.token
    let word = try self.word(expected)
    guard word.first?.isUppercase == true, word.allSatisfy({ $0.isLetter || $0.isNumber }) else {
      throw self.error("'\(word)' is no name: letters and digits, a capital first", at: token)
    }
    return word
  }

  private mutating func integer(_ expected: String, _ range: ClosedRange<Int>) throws(SchemaError) -> Int {
    let token = self.token
    guard let value = Int(try self.word(expected)), range.contains(value) else {
      throw self.error("\(expected) is a number from \(range.lowerBound) to \(range.upperBound), not \(token.description)", at: token)
    }
    return value
  }

  private mutating func keyword(_ keyword: String) throws(SchemaError) {
    self.skipLines()
    guard self.token.kind == .word(keyword) else { throw self.error("expected '\(keyword)', not \(self.token.description)") }
    self.index += 1
  }

  private mutating func mark(_ mark: Character) throws(SchemaError) {
    guard self.token.kind == .mark(mark) else { throw self.error("expected '\(mark)', not \(self.token.description)") }
    self.index += 1
  }

  private mutating func endLine() throws(SchemaError) {
    guard self.token.kind == .lineEnd else { throw self.error("expected the end of the line, not \(self.token.description)") }
    self.index += 1
  }

  private func error(_ message: String, at token: Token? = nil, line: Int? = nil) -> SchemaError {
    SchemaError(file: self.file, line: line ?? (token ?? self.token).line, message: message)
  }
}

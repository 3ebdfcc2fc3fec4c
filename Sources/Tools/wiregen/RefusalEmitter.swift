/// Writes `refusal`: the response to a request that is refused as a whole, in a form that every client of the version understands.
///
/// The error goes where a client of the version looks for it: into the structure's own error code if the version has one, else into each
/// element of its arrays, which are made from what the request asked for. An array is made from the request's array of the same name, or
/// from what `mirrors` names; an element repeats what identifies it, the fields marked with `mirrors`. A response that has no place for
/// an error in some version is an error of its schema.
struct RefusalEmitter {
  private let schema: Schema
  private let file: String
  private let request: Message
  private let response: Message
  /// Tells the loops of one function apart.
  private var loopCount = 0

  /// What an element of the response is made for.
  private enum Source {
    case structure(Structure, String)
    case scalar(FieldType, String)
  }

  private init(_ schema: Schema, file: String, request: Message, response: Message) {
    (self.schema, self.file, self.request, self.response) = (schema, file, request, response)
  }

  /// The lines of the function, which belongs into the request's structure.
  static func lines(_ schema: Schema, file: String, request: Message, response: Message) throws(SchemaError) -> [String] {
    var emitter = RefusalEmitter(schema, file: file, request: request, response: response)
    let body = try emitter.fill(
      response.root, "response", from: .structure(request.root, "self"), isElement: false, versions: schema.versions)
    return [
      "package func refusal(_ errorCode: ErrorCode, message: String?, version: Int16) -> \(response.root.name) {",
      "  var response = \(response.root.name)()",
    ] + body.map { "  " + $0 } + ["  return response", "}"]
  }

  /// The statements that put the error, and what identifies it, into `target`, a value of `structure`.
  private mutating func fill(
    _ structure: Structure, _ target: String, from source: Source, isElement: Bool, versions: VersionRange
  ) throws(SchemaError) -> [String] {
    var lines: [String] = []
    let error = Self.errorField(of: structure)
    if let error {
      lines.append("\(target).\(SwiftNames.property(error)) = errorCode")
      if let message = structure.fields.first(where: { $0.name == "ErrorMessage" && $0.type == .string }) {
        lines.append("\(target).errorMessage = message\(message.nullable == nil ? " ?? \"\"" : "")")
      }
    }
    var covered = versions.filter { error?.versions.contains($0) == true }
    for field in structure.fields {
      if isElement, let copy = try self.copy(of: field, from: source) { lines.append("\(target).\(SwiftNames.property(field)) = \(copy)") }
      guard case .array(.structure(let name)) = field.type, let element = self.response.structure(name) else { continue }
      guard self.carriesError(element) else {
        // Part of what identifies the element around it.
        if isElement, field.mirror != nil { lines += try self.loop(field, element, target, from: source, versions: versions) }
        continue
      }
      let wanted = versions.filter { field.versions.contains($0) && error?.versions.contains($0) != true }
      guard let first = wanted.first, let last = wanted.last else { continue }
      let range = VersionRange(first: first, last: last)
      guard wanted.count == last - first + 1 else {
        throw self.error(field, "is needed for errors in versions that do not follow one another")
      }
      let inner = try self.loop(field, element, target, from: source, versions: range)
      if let condition = SwiftNames.condition(range, within: versions) {
        lines += ["if \(condition) {"] + inner.map { "  " + $0 } + ["}"]
      } else {
        lines += inner
      }
      covered += wanted
    }
    if self.carriesError(structure) || !isElement, let missing = versions.filter({ !covered.contains($0) }).first {
      throw SchemaError(file: self.file, line: structure.line, message: "\(structure.name) has no place for an error in version \(missing)")
    }
    return lines
  }

  /// The loop that makes the elements of an array.
  private mutating func loop(
    _ field: Field, _ element: Structure, _ target: String, from source: Source, versions: VersionRange
  ) throws(SchemaError) -> [String] {
    self.loopCount += 1
    let (items, item) = ("items\(self.loopCount)", "item\(self.loopCount)")
    var lines = ["var \(items): [\(self.response.root.name).\(element.name)] = []"]
    for path in try self.paths(of: field, in: source) {
      let (head, inner) = try self.walk(path, of: field, from: source)
      let body = try self.fill(element, item, from: inner, isElement: true, versions: versions)
      var loops = head
      if let last = loops.popLast() {
        // An element that nothing is copied from is only counted.
        let words = last.split(separator: " ", maxSplits: 3)
        let isUsed = body.contains { line in line.split { !$0.isLetter && !$0.isNumber }.contains(words[1]) }
        loops.append(isUsed ? last : "for _ in \(words[3])")
      }
      let statements = ["var \(item) = \(self.response.root.name).\(element.name)()"] + body + ["\(items).append(\(item))"]
      lines += Self.nested(loops, statements)
    }
    lines.append("\(target).\(SwiftNames.property(field)) = \(items)")
    return lines
  }

  private static func nested(_ heads: [String], _ body: [String]) -> [String] {
    guard let head = heads.first else { return ["do {"] + body.map { "  " + $0 } + ["}"] }
    let inner = heads.count == 1 ? body : Self.nested(Array(heads.dropFirst()), body)
    return [head + " {"] + inner.map { "  " + $0 } + ["}"]
  }

  /// Where the elements of an array come from; an empty path is the source itself.
  private func paths(of field: Field, in source: Source) throws(SchemaError) -> [[String]] {
    switch field.mirror {
    case .fields(let paths)?: return paths
    case .request?: return [[]]
    case nil:
      guard case .structure(let structure, _) = source, structure.fields.contains(where: { $0.name == field.name }) else {
        throw self.error(field, "carries an error and mirrors nothing: the request has no field of this name")
      }
      return [[field.name]]
    }
  }

  /// The heads of the loops through `path`, and what the innermost one walks over.
  private mutating func walk(_ path: [String], of field: Field, from source: Source) throws(SchemaError) -> ([String], Source) {
    var heads: [String] = []
    var current = source
    for name in path {
      guard case .structure(let structure, let expression) = current,
        let next = structure.fields.first(where: { $0.name == name }), case .array(let type) = next.type
      else { throw self.error(field, "mirrors \(path.joined(separator: ".")), which is no array of the request") }
      self.loopCount += 1
      let element = "element\(self.loopCount)"
      let list = "\(expression).\(SwiftNames.property(next))"
      heads.append("for \(element) in \(next.nullable == nil ? list : list + " ?? []")")
      if case .structure(let name) = type, let structure = self.request.structure(name) {
        current = .structure(structure, element)
      } else {
        current = .scalar(type, element)
      }
    }
    return (heads, current)
  }

  /// The value of a field that repeats one of the request; nil if it repeats none, or the source has none of them.
  private func copy(of field: Field, from source: Source) throws(SchemaError) -> String? {
    guard case .fields(let paths)? = field.mirror, self.isScalar(field.type) else { return nil }
    switch source {
    case .scalar(let type, let expression): return type == field.type ? expression : nil
    case .structure(let structure, let expression):
      for path in paths {
        guard let other = structure.fields.first(where: { [$0.name] == path }) else { continue }
        guard other.type == field.type else { throw self.error(field, "mirrors \(other.name), which is of another type") }
        let value = "\(expression).\(SwiftNames.property(other))"
        return other.nullable != nil && field.nullable == nil ? "\(value) ?? \(SwiftNames.defaultValue(field))" : value
      }
      throw self.error(field, "mirrors what \(structure.name) does not have")
    }
  }

  private func isScalar(_ type: FieldType) -> Bool {
    switch type {
    case .array, .structure: false
    default: true
    }
  }

  /// The field that tells a client whether the structure is an answer or an error.
  private static func errorField(of structure: Structure) -> Field? {
    structure.fields.first { $0.type == .error && $0.name == "ErrorCode" } ?? structure.fields.first { $0.type == .error }
  }

  private func carriesError(_ structure: Structure) -> Bool {
    if Self.errorField(of: structure) != nil { return true }
    return structure.fields.contains { field in
      guard case .array(.structure(let name)) = field.type, let inner = self.response.structure(name) else { return false }
      return self.carriesError(inner)
    }
  }

  private func error(_ field: Field, _ message: String) -> SchemaError {
    SchemaError(file: self.file, line: field.line, message: "\(field.name) \(message)")
  }
}

extension VersionRange {
  fileprivate func filter(_ isIncluded: (Int) -> Bool) -> [Int] { (self.first...self.last).filter(isIncluded) }
}

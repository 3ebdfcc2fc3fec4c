/// The rules of a schema that can be told only once all of it is read.
struct SchemaChecker {
  let schema: Schema
  let file: String

  func check() throws(SchemaError) {
    for message in self.schema.messages { try self.check(message) }
  }

  private func check(_ message: Message) throws(SchemaError) {
    var names: Set<String> = [message.root.name]
    for structure in message.structures where !names.insert(structure.name).inserted {
      throw self.error(structure.line, "structure \(structure.name) is defined twice in one message")
    }
    for structure in [message.root] + message.structures {
      var names: Set<String> = []
      var tags: Set<Int> = []
      for field in structure.fields {
        if !names.insert(field.name).inserted { throw self.error(field.line, "field \(field.name) is defined twice") }
        if let tag = field.tag, !tags.insert(tag).inserted { throw self.error(field.line, "tag \(tag) is used twice") }
        try self.check(field, in: message)
      }
    }
    try self.checkUse(of: message)
  }

  private func check(_ field: Field, in message: Message) throws(SchemaError) {
    if let name = field.type.structureName, message.structure(name) == nil {
      throw self.error(field.line, "structure \(name) is not defined in this message")
    }
    if case .array(let element) = field.type {
      switch element {
      case .int8, .int16, .int32, .int64, .uint16, .uint32, .string, .uuid, .structure: break
      case .bool, .float64, .error, .bytes, .records, .array:
        throw self.error(field.line, "an array holds integers, strings, uuids or structures")
      }
    }
    if field.nullable != nil {
      switch field.type {
      case .string, .bytes, .records, .array: break
      case .structure:
        if field.nullable != field.versions { throw self.error(field.line, "a structure is nullable in all of its versions or in none") }
        if field.tag != nil { throw self.error(field.line, "a tagged structure is left out instead of being null") }
      case .bool, .int8, .int16, .int32, .int64, .uint16, .uint32, .float64, .error, .uuid:
        throw self.error(field.line, "\(field.name) has a type that cannot be null")
      }
    }
    if field.defaultValue == .null, field.nullable == nil {
      throw self.error(field.line, "\(field.name) is never null, yet its default is")
    }
    if field.tag != nil {
      guard self.schema.isFlexible(field.versions.first) else {
        throw self.error(field.line, "\(field.name) is tagged in version \(field.versions.first), which is not flexible")
      }
      if field.type == .records { throw self.error(field.line, "records cannot be tagged: their size must be known before they are sent") }
    }
    if field.isIgnorable, field.versions == self.schema.versions {
      throw self.error(field.line, "\(field.name) is in every version, so there is nothing to ignore")
    }
  }

  /// Every structure is used, and none contains itself: decoding has no recursion that input could drive.
  private func checkUse(of message: Message) throws(SchemaError) {
    var used: Set<String> = []
    func visit(_ structure: Structure, path: [String]) throws(SchemaError) {
      for field in structure.fields {
        guard let name = field.type.structureName, let inner = message.structure(name) else { continue }
        if path.contains(name) { throw self.error(field.line, "structure \(name) contains itself") }
        used.insert(name)
        try visit(inner, path: path + [name])
      }
    }
    try visit(message.root, path: [])
    for structure in message.structures where !used.contains(structure.name) {
      // A structure that only refers to itself is reported as recursion, as that is what is wrong with it.
      try visit(structure, path: [structure.name])
      throw self.error(structure.line, "structure \(structure.name) is never used")
    }
  }

  private func error(_ line: Int, _ message: String) -> SchemaError { SchemaError(file: self.file, line: line, message: message) }
}

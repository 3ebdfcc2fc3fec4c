import Testing

@testable import wiregen

@Suite struct SchemaParserTests {
  @Test("A schema with every feature")
  func parsesEverything() throws {
    let schema = try SchemaParser.parse(
      """
      # A comment.

      api 7 Sample   # and another
      versions 2-9
      flexible 6+

      request {
        struct Shared {
          Text: string = "a b"
        }
        Name: string? 3+ ignorable = null
        Count: int32 2-4 = -7
        Items: [Item] nullable 4+ {
          Inner: Shared
          Ids: [uuid] 5
        }
        Extra: Shared 6+ tag 3
        Flag: bool = true
      }
      response {
      }
      """, file: "Sample.wire")
    #expect(schema.name == "Sample")
    #expect(schema.versions == VersionRange(first: 2, last: 9))
    #expect(schema.firstFlexible == 6)
    guard case .api(let key, let request, let response) = schema.kind else { throw SchemaError(file: "", line: 0, message: "no api") }
    #expect(key == 7)
    #expect(response == Message(root: Structure(name: "SampleResponse", fields: [], line: 20), structures: []))
    #expect(request.structures.map(\.name) == ["Shared", "Item"])
    let all = VersionRange(first: 2, last: 9)
    #expect(
      request.root.fields == [
        Field(
          name: "Name", type: .string, versions: VersionRange(first: 3, last: 9), nullable: VersionRange(first: 3, last: 9), tag: nil,
          isIgnorable: true, defaultValue: .null, line: 11),
        Field(
          name: "Count", type: .int32, versions: VersionRange(first: 2, last: 4), nullable: nil, tag: nil, isIgnorable: false,
          defaultValue: .integer(-7), line: 12),
        Field(
          name: "Items", type: .array(.structure("Item")), versions: all, nullable: VersionRange(first: 4, last: 9), tag: nil,
          isIgnorable: false, defaultValue: .natural, line: 13),
        Field(
          name: "Extra", type: .structure("Shared"), versions: VersionRange(first: 6, last: 9), nullable: nil, tag: 3,
          isIgnorable: false, defaultValue: .natural, line: 17),
        Field(
          name: "Flag", type: .bool, versions: all, nullable: nil, tag: nil, isIgnorable: false, defaultValue: .boolean(true), line: 18),
      ])
    let item = try #require(request.structure("Item"))
    #expect(item.fields.map(\.name) == ["Inner", "Ids"])
    #expect(item.fields[1].versions == VersionRange(first: 5, last: 5))
    #expect(try #require(request.structure("Shared")).fields[0].defaultValue == .text("a b"))
  }

  struct Mistake: Sendable, CustomTestStringConvertible {
    var text: String
    var line: Int
    var message: String
    var testDescription: String { self.message }
  }

  /// A record of versions 0 to 3, flexible from 2, with `fields` from line 5 on.
  static func record(_ fields: String) -> String { "record R\nversions 0-3\nflexible 2+\nfields {\n\(fields)\n}\n" }

  static let mistakes: [Mistake] = [
    Mistake(text: "", line: 1, message: "expected 'api', 'metadata' or 'record', not the end of the file"),
    Mistake(text: "message X", line: 1, message: "a schema begins with 'api', 'metadata' or 'record', not 'message'"),
    Mistake(text: "api -1 X", line: 1, message: "the API key is a number from 0 to 32767, not '-1'"),
    Mistake(text: "metadata two X", line: 1, message: "the record type is a number from 0 to 32767, not 'two'"),
    Mistake(text: "record lower\n", line: 1, message: "'lower' is no name: letters and digits, a capital first"),
    Mistake(text: "record X Y\n", line: 1, message: "expected the end of the line, not 'Y'"),
    Mistake(text: "record X\n\nflexible 0+", line: 3, message: "expected 'versions', not 'flexible'"),
    Mistake(text: "record X\nversions 3-1\n", line: 2, message: "versions are 'N' or 'N-M' with N not above M, not '3-1'"),
    Mistake(text: "record X\nversions 3+\n", line: 2, message: "versions are 'N' or 'N-M' with N not above M, not '3+'"),
    Mistake(text: "record X\nversions 0\nflexible 2\n", line: 3, message: "flexible is 'none' or 'N+', not '2'"),
    Mistake(text: "record X\nversions 0\nflexible none\nrequest {\n}", line: 4, message: "expected 'fields', not 'request'"),
    Mistake(text: "record X\nversions 0\nflexible none\nfields {\n", line: 5, message: "expected a field's name, not the end of the file"),
    Mistake(text: "record X\nversions 0\nflexible none\nfields {\n}\nmore", line: 6, message: "expected the end of the file, not 'more'"),
    Mistake(text: "api 1 X\nversions 0\nflexible none\nrequest {\n}\n", line: 6, message: "expected 'response', not the end of the file"),
    Mistake(text: record("a: int8"), line: 5, message: "'a' is no name: letters and digits, a capital first"),
    Mistake(text: record("A int8"), line: 5, message: "expected ':', not 'int8'"),
    Mistake(text: record("A: int9"), line: 5, message: "unknown type 'int9'"),
    Mistake(text: record("A: [int8"), line: 5, message: "expected ']', not the end of the line"),
    Mistake(
      text: record("A: int8 sometimes"), line: 5,
      message: "'sometimes' is neither an attribute nor a range of the schema's versions"),
    Mistake(text: record("A: int8 4+"), line: 5, message: "'4+' is neither an attribute nor a range of the schema's versions"),
    Mistake(text: record("A: int8 2-1"), line: 5, message: "'2-1' is neither an attribute nor a range of the schema's versions"),
    Mistake(text: record("A: int8 1+ 2+"), line: 5, message: "the range of versions is given twice"),
    Mistake(text: record("A: int8 ignorable ignorable"), line: 5, message: "ignorable is given twice"),
    Mistake(text: record("A: S 2+ {\nB: int8 1+\n}"), line: 6, message: "versions 1+ are not among those of what encloses the field (2-3)"),
    Mistake(text: record("A: string? nullable 1+"), line: 5, message: "'?' and 'nullable' say the same twice"),
    Mistake(text: record("A: string 2+ nullable 1+"), line: 5, message: "'1+' is no range of the field's versions"),
    Mistake(text: record("A: int8 tag x"), line: 5, message: "the tag is a number from 0 to 65535, not 'x'"),
    Mistake(text: record("A: int8 = 200"), line: 5, message: "'200' is no default for 'A'"),
    Mistake(text: record("A: uint16 = -1"), line: 5, message: "'-1' is no default for 'A'"),
    Mistake(text: record("A: bool = 1"), line: 5, message: "'1' is no default for 'A'"),
    Mistake(text: record("A: int8 = \"x\""), line: 5, message: "a text is no default for 'A'"),
    Mistake(text: record("A: string = \"x"), line: 5, message: "a text without its closing quote"),
    Mistake(text: record("A: string ; B"), line: 5, message: "unexpected character ';'"),
    Mistake(text: record("A: int8 {\nB: int8\n}"), line: 5, message: "only a structure has fields of its own, 'A' is none"),
    Mistake(text: record("A: int8\n\nA: int16"), line: 7, message: "field A is defined twice"),
    Mistake(text: record("A: S {\nX: int8\n}\nB: S {\nX: int8\n}"), line: 8, message: "structure S is defined twice in one message"),
    Mistake(text: record("A: [S]"), line: 5, message: "structure S is not defined in this message"),
    Mistake(text: record("struct S {\nX: int8\n}"), line: 5, message: "structure S is never used"),
    Mistake(text: record("A: S {\nX: [S]\n}"), line: 6, message: "structure S contains itself"),
    Mistake(text: record("struct S {\nX: [S]\n}"), line: 6, message: "structure S contains itself"),
    Mistake(text: record("A: S {\nX: T {\nY: [S]\n}\n}"), line: 7, message: "structure S contains itself"),
    Mistake(text: record("A: [bool]"), line: 5, message: "an array holds integers, strings, uuids or structures"),
    Mistake(text: record("A: int8?"), line: 5, message: "A has a type that cannot be null"),
    Mistake(text: record("A: string = null"), line: 5, message: "A is never null, yet its default is"),
    Mistake(text: record("A: int8 tag 0"), line: 5, message: "A is tagged in version 0, which is not flexible"),
    Mistake(text: record("A: int8 2+ tag 0\nB: int8 2+ tag 0"), line: 6, message: "tag 0 is used twice"),
    Mistake(
      text: record("A: records 2+ tag 0"), line: 5,
      message: "records cannot be tagged: their size must be known before they are sent"),
    Mistake(
      text: record("A: S 2+ nullable 3+ {\nX: int8\n}"), line: 5,
      message: "a structure is nullable in all of its versions or in none"),
    Mistake(text: record("A: S? 2+ tag 1 {\nX: int8\n}"), line: 5, message: "a tagged structure is left out instead of being null"),
    Mistake(text: record("A: int8 ignorable"), line: 5, message: "A is in every version, so there is nothing to ignore"),
  ]

  @Test("Every mistake is named with its line", arguments: SchemaParserTests.mistakes)
  func reportsMistakes(mistake: Mistake) {
    #expect(throws: SchemaError(file: "Bad.wire", line: mistake.line, message: mistake.message)) {
      try SchemaParser.parse(mistake.text, file: "Bad.wire")
    }
  }

  @Test("Errors read like a compiler's")
  func describesErrors() {
    #expect("\(SchemaError(file: "a/B.wire", line: 3, message: "no"))" == "a/B.wire:3: error: no")
  }
}

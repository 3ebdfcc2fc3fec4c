/// A piece of a schema file. A word is a name, a keyword, a number or a range of versions: the parser knows which it expects.
struct Token: Equatable {
  enum Kind: Equatable {
    case word(String)
    /// A text in double quotes, without them.
    case text(String)
    /// One of `{ } [ ] : = ? . ,`.
    case mark(Character)
    case lineEnd
    case fileEnd
  }
  var kind: Kind
  var line: Int

  /// How an error names it.
  var description: String {
    switch self.kind {
    case .word(let word): "'\(word)'"
    case .text(let text): "\"\(text)\""
    case .mark(let mark): "'\(mark)'"
    case .lineEnd: "the end of the line"
    case .fileEnd: "the end of the file"
    }
  }
}

/// Splits a schema into tokens. `#` begins a comment that goes to the end of the line.
func tokens(of source: String, file: String) throws(SchemaError) -> [Token] {
  var tokens: [Token] = []
  var line = 1
  var rest = Substring(source)
  while let character = rest.first {
    switch character {
    case "\n", "\r\n":
      tokens.append(Token(kind: .lineEnd, line: line))
      line += 1
      rest.removeFirst()
    case " ", "\t":
      rest.removeFirst()
    case "#":
      rest = rest.drop { !$0.isNewline }
    case "{", "}", "[", "]", ":", "=", "?", ".", ",":
      tokens.append(Token(kind: .mark(character), line: line))
      rest.removeFirst()
    case "\"":
      let body = rest.dropFirst().prefix { $0 != "\"" && !$0.isNewline }
      rest = rest.dropFirst(body.count + 1)
      guard rest.first == "\"" else { throw SchemaError(file: file, line: line, message: "a text without its closing quote") }
      rest.removeFirst()
      tokens.append(Token(kind: .text(String(body)), line: line))
    case _ where isWordPart(character):
      let word = rest.prefix(while: isWordPart)
      tokens.append(Token(kind: .word(String(word)), line: line))
      rest = rest.dropFirst(word.count)
    default:
      throw SchemaError(file: file, line: line, message: "unexpected character '\(character)'")
    }
  }
  tokens.append(Token(kind: .lineEnd, line: line))
  tokens.append(Token(kind: .fileEnd, line: line))
  return tokens
}

private func isWordPart(_ character: Character) -> Bool {
  character.isASCII && (character.isLetter || character.isNumber || character == "-" || character == "+" || character == "_")
}

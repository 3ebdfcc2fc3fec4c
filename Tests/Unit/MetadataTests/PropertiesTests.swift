import Testing

@testable import Metadata

@Suite struct PropertiesTests {
  private func pairs(_ text: String) throws -> [[String]] { try parseProperties(text).map { [$0.key, $0.value] } }

  @Test(arguments: [
    ("a=b", "a", "b"), ("a = b", "a", "b"), ("a:b", "a", "b"), ("a b", "a", "b"), ("a\tb", "a", "b"), ("  a=b", "a", "b"),
    ("a=", "a", ""), ("a", "a", ""), ("a==b", "a", "=b"), ("a= b c ", "a", "b c"), ("a\\ b=c", "a b", "c"), ("a\\=b=c", "a=b", "c"),
    ("a\\:b=c", "a:b", "c"), ("a=b\\tc", "a", "b\tc"), ("a=b\\nc", "a", "b\nc"), ("a=\\u0041\\u00e9", "a", "Aé"),
    ("a=\\ud83d\\ude00", "a", "😀"), ("a=b\\qc", "a", "bqc"), ("a=b\\\n   c", "a", "bc"), ("a=b,\\\r\n  c,\\\n  d", "a", "b,c,d"),
    ("listeners=PLAINTEXT://:9092", "listeners", "PLAINTEXT://:9092"), ("a=b\\", "a", "b"), ("a=b # no comment", "a", "b # no comment"),
  ])
  func onePair(_ text: String, _ key: String, _ value: String) throws {
    #expect(try self.pairs(text) == [[key, value]])
  }

  @Test func commentsBlankLinesAndLineNumbers() throws {
    let text = "# one\n\n! two\r\n  # three\na=1\rb=2\\\n  3\n\nc=4"
    let properties = try parseProperties(text)
    #expect(properties.map(\.key) == ["a", "b", "c"])
    #expect(properties.map(\.value) == ["1", "23", "4"])
    #expect(properties.map(\.line) == [5, 6, 9])
  }

  @Test func aCommentDoesNotContinue() throws { #expect(try self.pairs("# a\\\nb=c") == [["b", "c"]]) }

  @Test(arguments: [
    ("\n=x", 2, "without a key"), ("a=1\n\nb=2\na=3", 4, "already set"),
    ("a=\\u12", 1, "hexadecimal"),
    ("x=1\na=\\u12g4", 2, "hexadecimal"), ("a=\\ud83d", 1, "hexadecimal"), ("a=\\ud83d\\u0041", 1, "hexadecimal"),
    ("a=\\u+123", 1, "hexadecimal"),
  ])
  func errorsNameTheLine(_ text: String, _ line: Int, _ words: String) throws {
    let error = try #require(throws: PropertiesError.self) { try parseProperties(text) }
    #expect(error.line == line)
    #expect(error.description.hasPrefix("line \(line): "))
    #expect(error.reason.contains(words))
  }

  @Test func theSameValueTwiceIsNoError() throws { #expect(try self.pairs("a=1\na=1") == [["a", "1"]]) }

  @Test func randomBytesGiveAnAnswer() {
    // Never a trap, whatever the text: half the letters are those with a meaning.
    var state: UInt64 = 7
    let letters = Array("\\\\\\uu=: \n\r#!ab0F")
    for _ in 0..<2000 {
      var text = ""
      for _ in 0..<40 {
        state = state &* 6_364_136_223_846_793_005 &+ 1_442_695_040_888_963_407
        text.append(letters[Int(state >> 33) % letters.count])
      }
      _ = try? parseProperties(text)
    }
  }
}

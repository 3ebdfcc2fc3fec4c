import ArgumentParser
import KafkaClient
import Testing

@testable import apus

@Suite struct ArgumentTests {
  @Test func durations() {
    let cases: [(String, Duration?)] = [
      ("10s", .seconds(10)), ("250ms", .milliseconds(250)), ("1.5s", .milliseconds(1500)), ("2m", .seconds(120)), ("1h", .seconds(3600)),
      ("7d", .seconds(604_800)), ("3", .seconds(3)), ("5us", .microseconds(5)), ("-1s", nil), ("x", nil), ("10 parsecs", nil), ("", nil),
      ("1e9d", nil),
    ]
    for (text, duration) in cases { #expect(DurationArgument(argument: text)?.duration == duration, "\(text)") }
    #expect(DurationArgument(.seconds(30)).description == "30s")
    #expect(DurationArgument(.milliseconds(1500)).description == "1500ms")
  }

  @Test func sizes() {
    let cases: [(String, Int?)] = [
      ("100", 100), ("1KiB", 1024), ("1k", 1024), ("1KB", 1000), ("1.5MiB", 1_572_864), ("2G", 2 << 30), ("1 GiB", 1 << 30), ("-1", nil),
      ("1XiB", nil), ("", nil),
    ]
    for (text, size) in cases { #expect(ByteCountArgument(argument: text)?.byteCount == size, "\(text)") }
    #expect(ByteCountArgument(64 << 10).description == "64KiB")
    #expect(ByteCountArgument(1000).description == "1000")
  }

  @Test func pairs() {
    #expect(PairArgument(argument: "a=b=c").map { [$0.name, $0.value] } == ["a", "b=c"])
    #expect(PairArgument(argument: "a=")?.value == "")
    #expect(PairArgument(argument: "=b") == nil)
    #expect(PairArgument(argument: "a") == nil)
  }

  @Test func times() {
    let cases: [(String, Int64?)] = [
      ("1700000000000", 1_700_000_000_000), ("1970-01-01", 0), ("2024-02-29T12:00:00Z", 1_709_208_000_000),
      ("2024-02-29T12:00:00.25Z", 1_709_208_000_250), ("2024-02-29T12:00:00+01:30", 1_709_202_600_000),
      ("2024-02-29 12:00", 1_709_208_000_000), ("1969-12-31T23:59:59Z", -1000), ("-10s", 990_000), ("-1d", 1_000_000 - 86_400_000),
      ("2023-02-29", nil), ("2024-13-01", nil), ("2024-01-01T25:00:00Z", nil), ("yesterday", nil), ("", nil),
    ]
    for (text, milliseconds) in cases { #expect(TimeArgument(text, now: 1_000_000)?.milliseconds == milliseconds, "\(text)") }
    for milliseconds: Int64 in [0, 1_709_208_000_250, -1, 951_782_399_999, 4_102_444_800_000] {
      #expect(TimeArgument(TimeArgument.text(milliseconds: milliseconds), now: 0)?.milliseconds == milliseconds)
    }
    #expect(TimeArgument.text(milliseconds: 1_709_208_000_250) == "2024-02-29T12:00:00.250Z")
  }

  @Test func numbersForPeople() {
    #expect(Readable.count(1_234_567) == "1,234,567")
    #expect(Readable.count(999) == "999")
    #expect(Readable.count(-1000) == "-1,000")
    #expect(Readable.bytes(1536) == "1.50 KiB")
    #expect(Readable.bytes(17) == "17 B")
    #expect(Readable.fixed(1.005, 1) == "1.0")
    #expect(Readable.fixed(-0.04, 1) == "0.0")
    #expect(Readable.fixed(12.3456, 3) == "12.346")
    var table = TextTable([("NAME", .left), ("N", .right)])
    table.add(["a", "10"])
    #expect(table.lines == ["NAME   N", "a     10"])
  }

  @Test func commandLinesThatContradictThemselvesAreRefused() {
    let bad = [
      ["topic", "alter", "t"], ["topic", "create"], ["topic", "create", "t", "--partitions", "0"],
      ["topic", "create", "t", "--config", "x"],
      ["consume", "t", "--from-beginning", "--offset", "3"], ["consume", "t", "--json", "--format", "%s"],
      ["consume", "t", "--format", "%q"],
      ["produce", "t", "--json", "--key-separator", ":"], ["produce", "t", "--compression", "zip"], ["produce", "t", "--acks", "2"],
      ["topic", "list", "--bootstrap", "a:b"], ["bench", "produce", "--compressible", "2"],
      ["bench", "produce", "--broker-pid", "999999999"],
      ["log", "dump"],
    ]
    for line in bad {
      let error = #expect(throws: (any Error).self, "\(line)") { try Apus.parseAsRoot(line) }
      #expect(error.map { Apus.exitCode(for: $0).rawValue } == 64, "\(line)")
    }
  }

  @Test func commandLinesOfTheContract() throws {
    let consume = try #require(try Apus.parseAsRoot(["consume", "t", "--offset", "-5", "--count", "3", "--exit-at-end"]) as? ConsumeCommand)
    #expect(consume.offset == -5)
    let since = try #require(
      try Apus.parseAsRoot(["consume", "t", "--from-time", "-10m", "--partition", "1", "--partition", "2"]) as? ConsumeCommand)
    #expect(since.partition == [1, 2])
    let produce = try #require(
      try Apus.parseAsRoot(
        ["produce", "t", "--header", "a=b", "--header", "c=d", "--acks", "0", "--compression", "zstd"]) as? ProduceCommand)
    #expect(produce.header.count == 2)
    let create = try #require(
      try Apus.parseAsRoot(
        ["topic", "create", "a", "b", "--partitions", "3", "--config", "x=y", "--if-not-exists", "--validate-only"]) as? TopicCreate)
    #expect(create.names == ["a", "b"])
    let latency = try #require(
      try Apus.parseAsRoot(["bench", "latency", "--record-size", "1KiB", "--duration", "2s", "--rate", "10"]) as? BenchLatency)
    #expect(latency.recordSize.byteCount == 1024)
  }

  @Test func anAddressThatCannotBeReachedComesWithAHint() {
    let change = ConnectivityChange.unreachable(BrokerAddress(host: "inner", port: 9092), KafkaError(.connection, "no such name"))
    let text = ConnectivityReport.text(of: change)
    #expect(text.hasPrefix("Warning: cannot reach broker inner:9092 (no such name)") && text.contains("advertised.listeners"))
    #expect(!text.contains("\n"))
  }

  @Test func aWordThatIsNoCommandIsNamedWithTheNearest() {
    #expect(Apus.unknownCommand(in: ["produc", "t"])?.contains("did you mean produce?") == true)
    #expect(Apus.unknownCommand(in: ["topic", "lst"])?.contains("did you mean list?") == true)
    #expect(Apus.unknownCommand(in: ["foo"])?.contains("did you mean") == false)
    #expect(Apus.unknownCommand(in: ["topic", "frobnicate"])?.contains("create, list") == true)
    for line in [[], ["--help"], ["help", "topic"], ["topic"], ["topic", "create", "x"], ["consume", "t"], ["bench", "produce", "--json"]] {
      #expect(Apus.unknownCommand(in: line) == nil, "\(line)")
    }
  }
}

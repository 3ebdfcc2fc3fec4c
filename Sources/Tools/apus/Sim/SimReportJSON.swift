import Base
import ClusterSimulation
import JSON

extension SimulationReport {
  /// Numbers of 64 bits as text, as JSON has none.
  var json: JSONValue {
    .object([
      ("seed", .string("\(self.seed)")), ("world", .string(self.world)), ("good", .bool(self.isGood)),
      ("digest", .string("\(self.digest)")),
      ("virtual_seconds", .number(self.virtualTime / .seconds(1))), ("events", .integer(Int64(self.eventCount))),
      ("coverage", self.coverage.json),
      ("violations", .array(self.violations.map { .string($0.description) })), ("trace", .array(self.trace.map { .string($0) })),
      ("replay", .string(self.replay)),
    ])
  }
}

extension Coverage {
  var json: JSONValue { .object(self.marks.map { ($0.mark.name, .integer(Int64($0.count))) }) }

  init(_ json: JSONValue?) {
    self.init()
    for mark in Mark.allCases {
      if case .integer(let count)? = json?[mark.name], count >= 0 { self[mark] = UInt64(count) }
    }
  }
}

extension SimSweep.Outcome {
  init(_ report: SimulationReport) {
    self.init(
      seed: report.seed, events: report.eventCount, virtualSeconds: report.virtualTime / .seconds(1), coverage: report.coverage,
      problems: report.violations.map(\.description), trace: report.trace, replay: report.replay)
    if !report.isGood { self.trace.append(report.world) }
  }

  /// A worker's line.
  init(line: String) throws {
    let json = try JSONParser.parse(line)
    func strings(_ name: String) -> [String] {
      guard case .array(let values)? = json[name] else { return [] }
      return values.compactMap { if case .string(let text) = $0 { text } else { nil } }
    }
    func text(_ name: String) -> String { if case .string(let text)? = json[name] { text } else { "" } }
    guard let seed = UInt64(text("seed")) else { throw CommandFailure("a worker's line without a seed: \(line.prefix(200))") }
    var virtualSeconds = 0.0
    if case .number(let seconds)? = json["virtual_seconds"] { virtualSeconds = seconds }
    if case .integer(let seconds)? = json["virtual_seconds"] { virtualSeconds = Double(seconds) }
    var events: UInt64 = 0
    if case .integer(let count)? = json["events"] { events = UInt64(max(0, count)) }
    self.init(
      seed: seed, events: events, virtualSeconds: virtualSeconds, coverage: Coverage(json["coverage"]),
      problems: strings("violations"), trace: strings("trace"), replay: text("replay"))
    if !self.problems.isEmpty { self.trace.append(text("world")) }
  }

  var json: JSONValue {
    .object([
      ("seed", .string("\(self.seed)")), ("good", .bool(self.problems.isEmpty)),
      ("violations", .array(self.problems.map { .string($0) })), ("replay", .string(self.replay)),
    ])
  }
}

import Base
import ClusterSimulation
import Dispatch
import Foundation
import JSON
import Synchronization

/// Many seeds, what came of them, and how fast it went.
final class SimSweep: Sendable {
  /// What is known of one run, whichever process it was in.
  struct Outcome: Sendable {
    var seed: UInt64
    var events: UInt64 = 0
    var virtualSeconds = 0.0
    var coverage = Coverage()
    var problems: [String] = []
    var trace: [String] = []
    var replay: String
  }
  private struct Totals: Sendable {
    var runs: UInt64 = 0
    var events: UInt64 = 0
    var virtualSeconds = 0.0
    var coverage = Coverage()
    var failed: [UInt64] = []
    var nextSeed: UInt64
  }

  private let first: UInt64
  private let count: UInt64
  private let failuresMax: Int
  private let json: Bool
  private let start = ContinuousClock.now
  private let totals: Mutex<Totals>
  /// Seeds that one process runs before another takes its place: what a run leaves behind in memory goes with it.
  private static let chunk: UInt64 = 100

  init(first: UInt64, count: UInt64, failuresMax: Int, json: Bool) {
    self.first = first
    self.count = count
    self.failuresMax = failuresMax
    self.json = json
    self.totals = Mutex(Totals(nextSeed: first))
  }

  // MARK: - In this process

  func runHere(_ options: SimulationOptions, verbose: Bool) {
    for seed in self.first..<self.first + self.count where !self.isEnough {
      let report = Simulation.run(seed: seed, options: options)
      if verbose, !self.json { for line in report.trace where report.isGood { print(line) } }
      self.take(Outcome(report), line: report.json.text)
    }
  }

  // MARK: - In others

  func runWorkers(_ arguments: [String], _ options: SimulationOptions, jobs: Int?) async throws {
    let jobs = jobs ?? ProcessInfo.processInfo.activeProcessorCount
    try await withThrowingTaskGroup(of: Void.self) { group in
      for _ in 0..<jobs {
        group.addTask {
          while let (seed, count) = self.takeChunk(jobs) {
            try await withCheckedThrowingContinuation { (done: CheckedContinuation<Void, any Error>) in
              // Waiting for a process blocks a thread, of which tasks have few.
              DispatchQueue.global().async { done.resume(with: Result { try self.runWorker(seed, count, arguments, options) }) }
            }
          }
        }
      }
      try await group.waitForAll()
    }
  }

  private func takeChunk(_ jobs: Int) -> (seed: UInt64, count: UInt64)? {
    if self.isEnough { return nil }
    return self.totals.withLock { totals in
      let left = self.first + self.count - totals.nextSeed
      if left == 0 { return nil }
      // Small at the end, so that all are busy until then.
      let count = max(1, min(Self.chunk, left / UInt64(jobs * 2)))
      defer { totals.nextSeed += count }
      return (totals.nextSeed, count)
    }
  }

  private func runWorker(_ seed: UInt64, _ count: UInt64, _ arguments: [String], _ options: SimulationOptions) throws {
    var next = seed
    while next < seed + count, !self.isEnough {
      let worker = Foundation.Process()
      worker.executableURL = URL(filePath: Self.executable)
      worker.arguments = ["sim", "run", "--worker", "--seed", "\(next)", "--seeds", "\(seed + count - next)"] + arguments
      let (output, errors) = (Pipe(), Pipe())
      worker.standardOutput = output
      worker.standardError = errors
      try worker.run()
      var lines = LineBuffer()
      var begun: UInt64?
      reading: while let data = try output.fileHandleForReading.read(upToCount: 1 << 16), !data.isEmpty {
        for line in lines.take(data) {
          if line.hasPrefix("begin ") {
            begun = UInt64(line.dropFirst(6))
          } else if let outcome = try? Outcome(line: line) {
            self.take(outcome, line: line)
            begun = nil
            next = outcome.seed + 1
            if self.isEnough { break reading }
          }
        }
      }
      if self.isEnough { worker.terminate() }
      let complaint = String(decoding: (try? errors.fileHandleForReading.readToEnd()) ?? Data(), as: UTF8.self)
      worker.waitUntilExit()
      if let begun, !self.isEnough {
        // The process ended in the middle of a run: an invariant of the code that it ran.
        var outcome = Outcome(seed: begun, replay: options.replay(seed: begun))
        outcome.problems = ["the process ended: " + complaint.split(separator: "\n").prefix(40).joined(separator: "\n")]
        self.take(outcome, line: nil)
        next = begun + 1
      }
    }
  }

  private static var executable: String {
    let link = "/proc/self/exe"
    return (try? FileManager.default.destinationOfSymbolicLink(atPath: link)) ?? CommandLine.arguments[0]
  }

  // MARK: - What came of it

  private var isEnough: Bool { self.totals.withLock { $0.failed.count >= self.failuresMax } }

  private func take(_ outcome: Outcome, line: String?) {
    self.totals.withLock { totals in
      totals.runs += 1
      totals.events += outcome.events
      totals.virtualSeconds += outcome.virtualSeconds
      totals.coverage.add(outcome.coverage)
      if !outcome.problems.isEmpty { totals.failed.append(outcome.seed) }
      if self.json { print(line ?? outcome.json.text) } else if !outcome.problems.isEmpty { Self.show(outcome) }
    }
  }

  private static func show(_ outcome: Outcome) {
    for line in outcome.trace { print(line) }
    for problem in outcome.problems { print("seed \(outcome.seed): \(problem)") }
    print("again: \(outcome.replay)")
  }

  /// Says what came of all of it. False if a promise was broken.
  func finish(_ options: SimulationOptions) -> Bool {
    let seconds = max((ContinuousClock.now - self.start) / .seconds(1), 1e-9)
    let totals = self.totals.withLock { $0 }
    if self.json {
      print(
        JSONValue.object([
          ("seeds", .integer(Int64(totals.runs))), ("first_seed", .string("\(self.first)")), ("nodes", .integer(Int64(options.nodeCount))),
          ("failed", .array(totals.failed.map { .string("\($0)") })), ("seconds", .number(seconds)),
          ("seeds_per_second", .number(Double(totals.runs) / seconds)), ("virtual_seconds", .number(totals.virtualSeconds)),
          ("events", .integer(Int64(totals.events))), ("coverage", totals.coverage.json),
        ]).text)
      return totals.failed.isEmpty
    }
    let rate = Double(totals.runs) / seconds
    print(
      """
      \(totals.runs) seeds from \(self.first), \(options.nodeCount) nodes, \(Readable.fixed(totals.virtualSeconds, 0)) virtual seconds \
      in \(Readable.fixed(seconds, 1)) s: \(Readable.fixed(rate, 2)) seeds/s, \
      \(Readable.count(Int(Double(totals.events) / seconds))) events/s
      """)
    print(totals.coverage.marks.map { "\($0.mark.name) \($0.count)" }.joined(separator: ", "))
    print(totals.failed.isEmpty ? "every promise was kept" : "broken in seed \(totals.failed.map(String.init).joined(separator: ", "))")
    return totals.failed.isEmpty
  }
}

/// Cuts what a pipe brings into lines.
private struct LineBuffer {
  private var rest: [UInt8] = []

  mutating func take(_ data: Data) -> [String] {
    self.rest += data
    var lines: [String] = []
    while let end = self.rest.firstIndex(of: UInt8(ascii: "\n")) {
      lines.append(String(decoding: self.rest[..<end], as: UTF8.self))
      self.rest.removeSubrange(...end)
    }
    return lines
  }
}

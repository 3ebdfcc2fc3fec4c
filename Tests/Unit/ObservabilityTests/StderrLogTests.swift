import Logging
import Observability
import Testing

#if canImport(Glibc)
  import Glibc
#elseif canImport(Darwin)
  import Darwin
#endif

/// The two ends of a pipe: what the log writes, and what came out of it.
private final class Pipe {
  private var ends: [CInt] = [0, 0]

  init() { precondition(pipe(&self.ends) == 0) }
  deinit {
    close(self.ends[0])
    close(self.ends[1])
  }

  var writeEnd: CInt { self.ends[1] }

  /// What can be read now.
  func read() -> String {
    var ready = pollfd(fd: self.ends[0], events: Int16(POLLIN), revents: 0)
    var text: [UInt8] = []
    var buffer = [UInt8](repeating: 0, count: 65_536)
    while poll(&ready, 1, 0) > 0 {
      let count = systemRead(self.ends[0], &buffer, buffer.count)
      if count <= 0 { break }
      text += buffer.prefix(count)
    }
    return String(decoding: text, as: UTF8.self)
  }
}

private func systemRead(_ descriptor: CInt, _ buffer: UnsafeMutableRawPointer, _ count: Int) -> Int { read(descriptor, buffer, count) }

@Suite struct StderrLogTests {
  @Test func theLevelMayChangeWhileLoggersUseIt() {
    let pipe = Pipe()
    let threshold = LogThreshold(.info)
    let log = Logger(label: "x") { _ in StderrLog(threshold: threshold, output: LogOutput(descriptor: pipe.writeEnd)) }
    var own = log
    own.logLevel = .error
    log.debug("one")
    threshold.level = .debug
    log.debug("two")
    own.debug("three")
    threshold.level = .critical
    log.error("four")
    own.error("five")
    let text = pipe.read()
    #expect(["one", "two", "three", "four", "five"].map { text.contains($0) } == [false, true, false, false, true])
  }

  @Test func eventsBecomeLinesAboveTheLevel() {
    let pipe = Pipe()
    var log = Logger(label: "test") { _ in StderrLog(level: .info, output: LogOutput(descriptor: pipe.writeEnd)) }
    log[metadataKey: "node"] = "1"
    log.debug("not this")
    log.info("this", metadata: ["b": "2", "a": "x y"])
    log.error("and this")
    let lines = pipe.read().split(separator: "\n")
    #expect(lines.map { $0.dropFirst(25) } == [#"INFO  this a="x y" b=2 node=1"#, "ERROR and this node=1"])
  }

  /// Nobody reads: the thread that logs goes on, and what was lost is told when there is room again.
  @Test func aFullPipeStopsNobody() {
    let pipe = Pipe()
    let log = Logger(label: "test") { _ in StderrLog(level: .info, output: LogOutput(descriptor: pipe.writeEnd)) }
    let clock = ContinuousClock()
    let took = clock.measure {
      for index in 0..<5_000 { log.info("\(String(repeating: "x", count: 100))", metadata: ["index": "\(index)"]) }
    }
    #expect(took < .seconds(20))
    let first = pipe.read().split(separator: "\n")
    log.info("room again")
    let second = pipe.read().split(separator: "\n")
    #expect(second.count == 2)
    #expect(second.first.map { $0.contains("lines of the log were dropped count=\(5_000 - first.count)") } == true)
    #expect(second.last.map { $0.hasSuffix("room again") } == true)
  }
}

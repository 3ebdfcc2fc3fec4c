import Foundation

/// `apus start` as a process of its own, from the products directory of this test.
final class StartProcess {
  private let process = Process()
  private let output = Pipe()
  private let errors = Pipe()

  /// The executable lies beside the test bundle.
  private static let executable = URL(filePath: CommandLine.arguments[0]).resolvingSymlinksInPath().deletingLastPathComponent()
    .appending(path: "apus")

  static var isBuilt: Bool { FileManager.default.isExecutableFile(atPath: Self.executable.path) }

  init(_ arguments: [String], environment: [String: String] = [:]) throws {
    self.process.executableURL = Self.executable
    self.process.arguments = ["start"] + arguments
    self.process.environment = environment
    self.process.standardOutput = self.output
    self.process.standardError = self.errors
    try self.process.run()
  }

  deinit { if self.process.isRunning { kill(self.process.processIdentifier, SIGKILL) } }

  /// The first line of standard output, without its end. Empty if the process ended before it wrote one.
  func readyLine() -> String {
    var line: [UInt8] = []
    while let byte = self.output.fileHandleForReading.readData(ofLength: 1).first, byte != UInt8(ascii: "\n") { line.append(byte) }
    return String(decoding: line, as: UTF8.self)
  }

  /// The port of a ready line.
  static func port(of line: String) -> Int? {
    line.split(separator: " ").first { $0.hasPrefix("listen=") }?.split(separator: ":").last.flatMap { Int($0) }
  }

  func signal(_ number: CInt) { kill(self.process.processIdentifier, number) }

  /// Waits for the end, at most 20 seconds, and returns the exit code and the rest of what was written.
  func finish() -> (code: Int32, output: String, errors: String) {
    let deadline = Date().addingTimeInterval(20)
    while self.process.isRunning, Date() < deadline { usleep(5_000) }
    if self.process.isRunning { kill(self.process.processIdentifier, SIGKILL) }
    self.process.waitUntilExit()
    func text(_ pipe: Pipe) -> String { String(decoding: pipe.fileHandleForReading.readDataToEndOfFile(), as: UTF8.self) }
    let code = self.process.terminationReason == .exit ? self.process.terminationStatus : -self.process.terminationStatus
    return (code, text(self.output), text(self.errors))
  }
}

/// A directory that goes with the test.
final class TemporaryDirectory {
  let path = FileManager.default.temporaryDirectory.appending(path: "apus-start-\(UUID().uuidString)").path
  init() throws { try FileManager.default.createDirectory(atPath: self.path, withIntermediateDirectories: true) }
  deinit { try? FileManager.default.removeItem(atPath: self.path) }
  func file(_ name: String, _ text: String) throws -> String {
    try text.write(toFile: self.path + "/" + name, atomically: true, encoding: .utf8)
    return self.path + "/" + name
  }
}

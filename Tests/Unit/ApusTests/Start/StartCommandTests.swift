import Foundation
import Testing

/// The contract of `apus start`, on the real executable.
@Suite(.serialized, .enabled(if: StartProcess.isBuilt, "the executable is not beside the test bundle"))
struct StartCommandTests {
  let directory: TemporaryDirectory
  var data: String { self.directory.path + "/data" }

  init() throws { self.directory = try TemporaryDirectory() }

  private func start(_ arguments: [String] = [], environment: [String: String] = [:]) throws -> StartProcess {
    try StartProcess(["--data", self.data, "--listen", "127.0.0.1:0"] + arguments, environment: environment)
  }

  @Test(arguments: [SIGTERM, SIGINT]) func oneLineWhenReadyAndACleanStop(signal: CInt) throws {
    let node = try self.start()
    let line = node.readyLine()
    #expect(line.wholeMatch(of: #/apus ready node=1 listen=127\.0\.0\.1:\d+ cluster=[\w-]{22}/#) != nil, "\(line)")
    #expect(try #require(StartProcess.port(of: line)) > 0)
    node.signal(signal)
    let end = node.finish()
    #expect(end.code == 0)
    #expect(end.output.isEmpty, "nothing but the one line goes to standard output")
    #expect(end.errors.contains("shutdown ended"))
    #expect(FileManager.default.fileExists(atPath: self.data + "/.kafka_cleanshutdown"))
  }

  @Test func identityIsKept() throws {
    let first = try self.start(["--set", "node.id=7"])
    let line = first.readyLine()
    #expect(line.contains("node=7"))
    first.signal(SIGTERM)
    _ = first.finish()

    let second = try self.start()
    let again = second.readyLine()
    #expect(again.contains("node=7"), "the directory knows who it belongs to")
    #expect(again.split(separator: " ").last == line.split(separator: " ").last, "the cluster id is kept")
    second.signal(SIGTERM)
    _ = second.finish()

    let third = try self.start(["--set", "node.id=8"]).finish()
    #expect(third.code == 78)
    #expect(third.errors.contains("belongs to node 7, but node.id is 8"))
  }

  @Test func aKilledNodeStartsAgain() throws {
    let first = try self.start()
    _ = first.readyLine()
    first.signal(SIGKILL)
    #expect(first.finish().code == -SIGKILL)
    let second = try self.start()
    #expect(second.readyLine().hasPrefix("apus ready"))
    second.signal(SIGTERM)
    #expect(second.finish().code == 0)
  }

  @Test func theDirectoryIsTaken() throws {
    let first = try self.start()
    _ = first.readyLine()
    let second = try self.start().finish()
    #expect(second.code == 74)
    let reason = "log directory \(self.data) is used by another process: stop it, or start with another data directory"
    #expect(second.errors == "apus start: \(reason)\n")
    first.signal(SIGTERM)
    #expect(first.finish().code == 0)
  }

  @Test func thePortIsTaken() throws {
    let first = try self.start()
    let port = try #require(StartProcess.port(of: first.readyLine()))
    let other = self.directory.path + "/other"
    let second = try StartProcess(["--data", other, "--listen", "127.0.0.1:\(port)"]).finish()
    #expect(second.code == 69)
    #expect(second.errors.hasPrefix("apus start: cannot listen on 127.0.0.1:\(port): Address already in use; choose another"))
    #expect(!FileManager.default.fileExists(atPath: other), "no directory is made before the port is had")
    first.signal(SIGTERM)
    _ = first.finish()
  }

  @Test func fileEnvironmentAndArguments() throws {
    let file = try self.directory.file("server.properties", "# of a Kafka\nnode.id=4\nlog.retention.hours=1\nnum.io.threads=8\n")
    let node = try self.start(["--config", file], environment: ["APUS_NODE_ID": "5"])
    #expect(node.readyLine().contains("node=5"), "the environment wins over the file")
    node.signal(SIGTERM)
    #expect(node.finish().errors.contains("num.io.threads"), "what has no effect is said")
  }

  @Test(arguments: [
    (["--set", "log.retention.mss=1"], "unknown configuration key log.retention.mss (did you mean log.retention.ms?)"),
    (["--set", "log.retention.ms=soon"], "log.retention.ms"), (["--set", "log.retention.ms"], "write it as KEY=VALUE"),
    (["--listen", "nowhere"], "write it as HOST:PORT"), (["--config", "no-such.properties"], "no-such.properties: no such file"),
    (["--set", "listeners=SSL://127.0.0.1:0", "--set", "node.id=1"], "SSL listeners are not supported"),
  ] as [([String], String)])
  func wrongConfigurations(arguments: [String], message: String) throws {
    let end = try StartProcess(["--data", self.data] + arguments).finish()
    #expect(end.code == 78)
    #expect(end.errors.contains(message), "\(end.errors)")
    #expect(end.errors.split(separator: "\n").count == 1)
    #expect(end.output.isEmpty)
    #expect(!FileManager.default.fileExists(atPath: self.data))
  }

  @Test func unknownVariables() throws {
    let end = try self.start(environment: ["APUS_LOG_RETENTION_MSX": "1"]).finish()
    #expect(end.code == 78)
    #expect(end.errors.contains("did you mean APUS_LOG_RETENTION_MS?"))
  }

  @Test func directoriesThatCannotBe() throws {
    let file = try self.directory.file("plain", "a file")
    let end = try StartProcess(["--data", file + "/data", "--listen", "127.0.0.1:0"]).finish()
    #expect(end.code == 74)
    #expect(end.errors.hasPrefix("apus start: cannot "))
  }

  @Test func aSecondSignalDoesNotWait() throws {
    let node = try self.start()
    _ = node.readyLine()
    node.signal(SIGTERM)
    node.signal(SIGINT)
    let code = node.finish().code
    #expect(code == 130 || code == 0, "ended at once, or was already done")
  }
}

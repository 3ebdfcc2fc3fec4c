import Environment
import LogCore
import Metadata
import Model
import NIOCore
import PosixDisk

/// A node's configuration, gathered from everything that may say something about it.
struct NodeConfig {
  let settings: StaticConfig
  let broker: BrokerConfig

  /// Variables that begin with `APUS_` and are not configuration keys.
  static let logLevelVariable = "APUS_LOG_LEVEL"
  private static let otherVariables = ["APUS_BOOTSTRAP", Self.logLevelVariable]

  /// - Parameters:
  ///   - file: the path of a `server.properties`.
  ///   - overrides: `KEY=VALUE` each.
  ///   - data, listen: `--data` and `--listen`, which win over everything else.
  init(
    file: String?, overrides: [String], data: String?, listen: String?, environment: [(name: String, value: String)], disk: PosixDisk
  ) throws(StartError) {
    let text = try file.map { path throws(StartError) in try Self.read(path, disk) }
    var arguments: [(key: String, value: String)] = []
    for override in overrides {
      guard let equals = override.firstIndex(of: "="), equals > override.startIndex else {
        throw StartError(.configuration, "--set \(override): write it as KEY=VALUE")
      }
      arguments.append((String(override[..<equals]), String(override[override.index(after: equals)...])))
    }
    let listeners = try listen.map { text throws(StartError) in try Self.listener(text) }
    var settings: StaticConfig
    do throws(StaticConfigError) {
      settings = try StaticConfig(
        file: file.map { (name: $0, text: text ?? "") }, environment: environment, otherVariables: Self.otherVariables,
        arguments: arguments)
      if let data { try settings.set("log.dirs", data) }
      if let listeners { try settings.set("listeners", listeners) }
    } catch {
      throw StartError(.configuration, error.description)
    }
    do throws(ConfigError) {
      var broker = try BrokerConfig(BrokerConfigLayers(staticConfig: settings))
      if settings["node.id"] == nil, settings["broker.id"] == nil, let known = try Self.storedNodeID(broker.logDirectories[0], disk) {
        // The directory remembers who it belongs to; only a number that is asked for can contradict it.
        do throws(StaticConfigError) { try settings.set("node.id", known.description) } catch {
          throw ConfigError("node.id", error.description)
        }
        broker = try BrokerConfig(BrokerConfigLayers(staticConfig: settings))
      }
      self.broker = broker
    } catch {
      throw StartError(.configuration, error.description)
    }
    self.settings = settings
  }

  /// `HOST:PORT`, `[v6]:PORT` or `:PORT` as a value of `listeners`.
  private static func listener(_ text: String) throws(StartError) -> String {
    guard let colon = text.lastIndex(of: ":"), UInt16(text[text.index(after: colon)...]) != nil else {
      throw StartError(.configuration, "--listen \(text): write it as HOST:PORT, with a port from 0 to 65535")
    }
    return "PLAINTEXT://\(text)"
  }

  private static func read(_ path: String, _ disk: PosixDisk) throws(StartError) -> String {
    do throws(DiskError) {
      if try disk.kind(of: path) != .directory { return try self.text(path, disk) }
    } catch {
      throw StartError(.configuration, error.description)
    }
    throw StartError(.configuration, "\(path) is a directory, not a file")
  }

  private static func text(_ path: String, _ disk: PosixDisk) throws(DiskError) -> String {
    let file = try disk.open(path, .read)
    let byteCount = Int(try file.byteCount())
    guard byteCount <= 1 << 20 else { throw DiskError(.io, operation: "read all \(byteCount) bytes of", path: path) }
    var bytes = [UInt8](repeating: 0, count: byteCount)
    let result = bytes.withUnsafeMutableBytes { buffer in
      Result<Int, DiskError> { () throws(DiskError) in try file.read(into: buffer, at: 0) }
    }
    return String(decoding: bytes.prefix(try result.get()), as: UTF8.self)
  }

  /// Nil if there is no directory yet, or nothing that can be read: opening it will say what is wrong.
  private static func storedNodeID(_ directory: String, _ disk: PosixDisk) throws(ConfigError) -> NodeID? {
    guard let text = try? Self.read(directory + "/" + LogDirectoryFile.metaProperties, disk) else { return nil }
    return (try? MetaProperties(text: text, newDirectoryID: .zero))?.nodeID
  }
}

import ArgumentParser
import KafkaClient

/// `--acks 0|1|all`
struct AcksArgument: ExpressibleByArgument, Hashable {
  var acknowledgement: Acknowledgement
  init(_ acknowledgement: Acknowledgement) { self.acknowledgement = acknowledgement }

  init?(argument: String) {
    switch argument {
    case "0": self.acknowledgement = .none
    case "1": self.acknowledgement = .leader
    case "all", "-1": self.acknowledgement = .all
    default: return nil
    }
  }

  var defaultValueDescription: String {
    switch self.acknowledgement {
    case .none: "0"
    case .leader: "1"
    case .all: "all"
    }
  }
  static let allValueStrings = ["0", "1", "all"]
}

/// `--compression none|gzip|snappy|lz4|zstd`
struct CompressionArgument: ExpressibleByArgument, Hashable {
  var compression: CompressionType
  init(_ compression: CompressionType) { self.compression = compression }

  init?(argument: String) {
    guard let compression = CompressionType(rawValue: argument) else { return nil }
    self.compression = compression
  }

  var defaultValueDescription: String { self.compression.rawValue }
  static let allValueStrings = CompressionType.allCases.map(\.rawValue)
}

/// The codecs of Kafka's record batches, by the numbers in a batch's attributes and the names in configurations.
package enum CompressionCodec: Int16, CaseIterable, Sendable, Hashable, CustomStringConvertible {
  case none = 0
  case gzip = 1
  case snappy = 2
  case lz4 = 3
  case zstd = 4

  /// Kafka's name (`compression.type`).
  package var name: String {
    switch self {
    case .none: "none"
    case .gzip: "gzip"
    case .snappy: "snappy"
    case .lz4: "lz4"
    case .zstd: "zstd"
    }
  }

  /// Nil for a name that is no codec; `producer` and `uncompressed`, values of a topic's `compression.type`, are none either.
  package init?(name: some StringProtocol) {
    guard let codec = Self.allCases.first(where: { $0.name == name }) else { return nil }
    self = codec
  }

  /// The levels Kafka's `compression.<codec>.level` accepts; nil for a codec without levels. Gzip accepts -1 (its default) besides.
  package var levels: ClosedRange<Int>? {
    switch self {
    case .none, .snappy: nil
    case .gzip: 1...9
    case .lz4: 1...17
    case .zstd: -131_072...22
    }
  }

  /// Kafka's default level; nil for a codec without levels.
  package var defaultLevel: Int? {
    switch self {
    case .none, .snappy: nil
    case .gzip: -1
    case .lz4: 9
    case .zstd: 3
    }
  }

  /// Whether Kafka would accept `level` for this codec.
  package func accepts(level: Int) -> Bool {
    self.levels.map { $0.contains(level) || level == self.defaultLevel } ?? false
  }

  package var description: String { self.name }
}

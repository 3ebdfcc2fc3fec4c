/// Which target may import what: the table of ARCHITECTURE.md. `Package.swift` and every `import` are held against it.
enum ImportTable {
  /// From low to high: a folder imports only from folders above it in this list, and sideways only as `allowed` says.
  static let layers = ["Ground", "Formats", "Cores", "Engine", "Edges", "Lab", "Tools"]

  private static let ground = ["Base", "Model"]
  private static let formats = ["Compression", "JSON", "Records", "Wire"]
  private static let cores = ["Election", "Raft", "Metadata", "Replication", "LogCore"]
  private static let engine = ["Environment", "Storage", "Peers", "Controller", "Broker"]
  private static let edges = ["NIOServer", "NIONetwork", "PosixDisk", "Observability", "KafkaClient"]

  /// Target to the modules it may import besides the standard library. A target that is not listed may not exist.
  static let allowed: [String: Set<String>] = [
    "Base": ["CISAL", "Collections"],
    "Model": ["Base"],
    "Compression": ["Base", "CZstd", "CLZ4", "CSnappy", "CZlib"],
    "Records": ["Base", "Model", "Compression", "NIOCore"],
    "JSON": [],
    "Wire": ["Base", "Model", "NIOCore"],
    "Metadata": ["Base", "Model", "Collections", "HashTreeCollections"],
    "Replication": ["Base", "Model", "Collections"],
    "LogCore": ["Base", "Model", "Collections"],
    "Election": ["Base", "Model"],
    "Raft": ["Base", "Model", "Election"],
    "Environment": ["Base", "Model", "NIOCore"],
    "Storage": ["Base", "Model", "Records", "Compression", "LogCore", "Environment", "NIOCore", "Collections"],
    "Peers": ["Base", "Model", "Wire", "Environment", "NIOCore"],
    "Controller": [
      "Base", "Model", "Compression", "JSON", "Wire", "Records", "Election", "Raft", "Metadata", "LogCore", "Storage", "Environment",
      "Peers", "NIOCore",
    ],
    "Broker": Set(Self.ground + Self.formats + Self.cores + ["Environment", "Peers", "Storage", "Controller", "NIOCore", "Collections"]),
    "PosixDisk": ["Base", "Environment", "CPosix", "NIOCore"],
    "NIOServer": ["Base", "Model", "Wire", "Environment", "Broker", "NIOCore", "NIOPosix"],
    "NIONetwork": ["Base", "Wire", "Environment", "NIOCore", "NIOPosix"],
    "Observability": ["Base", "Model", "Environment", "Logging"],
    "KafkaClient": Set(Self.ground + Self.formats + ["NIOCore", "NIOPosix", "Collections", "DequeModule"]),
    "VirtualWorld": ["Base", "Model", "Environment", "NIOCore", "Collections"],
    "ClusterSimulation": Set(
      Self.ground + Self.formats + Self.cores + Self.engine + ["VirtualWorld", "NIOCore", "Collections"]),
    "wiregen": [],
    "WirePlugin": ["wiregen"],
    "apus": Set(
      Self.ground + Self.formats + Self.cores + Self.engine + Self.edges
        + ["ClusterSimulation"] + ["ArgumentParser", "Logging", "Histogram", "NIOCore", "NIOPosix"]),
  ]

  /// Modules that are parts of a product in the table.
  static let products: [String: String] = [
    "DequeModule": "Collections", "OrderedCollections": "Collections", "HashTreeCollections": "Collections",
    "HeapModule": "Collections", "BitCollections": "Collections", "BasicContainers": "Collections",
  ]

  /// Modules that come with the toolchain, and the layers that may use them. Cores have no use for any of them.
  static let toolchain: [String: Set<String>] = [
    "Synchronization": ["Ground", "Formats", "Engine", "Edges", "Lab", "Tools"],
    "Glibc": ["Ground", "Formats", "Edges", "Tools"],
    "Musl": ["Ground", "Formats", "Edges", "Tools"],
    "Darwin": ["Ground", "Formats", "Edges", "Tools"],
    "Foundation": ["Tools"],
    "FoundationEssentials": ["Tools"],
    "Dispatch": ["Edges", "Tools"],
    "PackagePlugin": ["Tools"],
  ]
}

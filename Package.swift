// swift-tools-version: 6.2
import PackageDescription

// The layering of ARCHITECTURE.md, as SwiftPM sees it: a target lists exactly the targets it may import.
// `Tests/Tidy` holds every `import` in Sources against this same table.

let common: [SwiftSetting] = [
  .enableUpcomingFeature("ExistentialAny"),
  .enableUpcomingFeature("MemberImportVisibility"),
  .enableUpcomingFeature("InternalImportsByDefault"),
  .enableUpcomingFeature("NonisolatedNonsendingByDefault"),
  .treatAllWarnings(as: .error),
]
/// Cores never touch memory by hand, so the compiler is told to say so.
let core: [SwiftSetting] = common + [.strictMemorySafety()]
/// Deliberate bugs that tests can switch on to see whether they are found. Release builds have none of them.
let mutants: [SwiftSetting] = [.define("APUS_MUTANTS", .when(configuration: .debug))]

let nioCore: Target.Dependency = .product(name: "NIOCore", package: "swift-nio")
let nioPosix: Target.Dependency = .product(name: "NIOPosix", package: "swift-nio")
let collections: Target.Dependency = .product(name: "Collections", package: "swift-collections")
let argumentParser: Target.Dependency = .product(name: "ArgumentParser", package: "swift-argument-parser")
let logging: Target.Dependency = .product(name: "Logging", package: "swift-log")
let histogram: Target.Dependency = .product(name: "Histogram", package: "hdrhistogram-swift")

let package = Package(
  name: "apus",
  platforms: [.macOS("26.0")],
  products: [
    .executable(name: "apus", targets: ["apus"]),
    .library(name: "KafkaClient", targets: ["KafkaClient"]),
  ],
  dependencies: [
    .package(url: "https://github.com/apple/swift-nio", from: "2.101.0"),
    .package(url: "https://github.com/apple/swift-collections", from: "1.6.0"),
    .package(url: "https://github.com/apple/swift-argument-parser", from: "1.8.0"),
    .package(url: "https://github.com/apple/swift-log", from: "1.16.0"),
    .package(url: "https://github.com/HdrHistogram/hdrhistogram-swift", from: "0.2.0"),
  ],
  targets: [
    // Ground: values and the few algorithms everything stands on.
    .systemLibrary(name: "CISAL", path: "Sources/Ground/System/CISAL", pkgConfig: "libisal",
      providers: [.apt(["libisal-dev"]), .brew(["isa-l"])]),
    .target(name: "Base", dependencies: ["CISAL", collections], path: "Sources/Ground/Base", swiftSettings: common),
    .target(name: "Model", dependencies: ["Base"], path: "Sources/Ground/Model", swiftSettings: core),

    // Formats: bytes <-> values, no policy.
    .systemLibrary(name: "CZstd", path: "Sources/Formats/System/CZstd", pkgConfig: "libzstd",
      providers: [.apt(["libzstd-dev"]), .brew(["zstd"])]),
    .systemLibrary(name: "CLZ4", path: "Sources/Formats/System/CLZ4", pkgConfig: "liblz4",
      providers: [.apt(["liblz4-dev"]), .brew(["lz4"])]),
    .systemLibrary(name: "CSnappy", path: "Sources/Formats/System/CSnappy", pkgConfig: "snappy",
      providers: [.apt(["libsnappy-dev"]), .brew(["snappy"])]),
    .systemLibrary(name: "CZlib", path: "Sources/Formats/System/CZlib", pkgConfig: "zlib",
      providers: [.apt(["zlib1g-dev"]), .brew(["zlib"])]),
    .target(name: "Compression", dependencies: ["Base", "CZstd", "CLZ4", "CSnappy", "CZlib"],
      path: "Sources/Formats/Compression", swiftSettings: common),
    .target(name: "Records", dependencies: ["Base", "Model", "Compression", nioCore],
      path: "Sources/Formats/Records", swiftSettings: common),
    .target(name: "JSON", path: "Sources/Formats/JSON", swiftSettings: common),
    .target(name: "Wire", dependencies: ["Base", "Model", nioCore], path: "Sources/Formats/Wire", exclude: ["Schemas/README.md"],
      swiftSettings: common, plugins: ["WirePlugin"]),

    // Cores: pure machines.
    .target(name: "Metadata", dependencies: ["Base", "Model", collections], path: "Sources/Cores/Metadata",
      swiftSettings: core + mutants),
    .target(name: "Replication", dependencies: ["Base", "Model", collections], path: "Sources/Cores/Replication",
      swiftSettings: core + mutants),
    .target(name: "LogCore", dependencies: ["Base", "Model", collections], path: "Sources/Cores/LogCore", swiftSettings: core),
    .target(name: "Election", dependencies: ["Base", "Model"], path: "Sources/Cores/Election", swiftSettings: core),
    .target(name: "Raft", dependencies: ["Base", "Model", "Election"], path: "Sources/Cores/Raft", swiftSettings: core + mutants),

    // Engine: drives the cores through ports.
    .target(name: "Environment", dependencies: ["Base", "Model", nioCore], path: "Sources/Engine/Environment", swiftSettings: common + mutants),
    .target(name: "Storage", dependencies: ["Base", "Model", "Records", "Compression", "LogCore", "Environment", nioCore, collections],
      path: "Sources/Engine/Storage", swiftSettings: common + mutants),
    .target(name: "Peers", dependencies: ["Base", "Model", "Wire", "Environment", nioCore], path: "Sources/Engine/Peers", swiftSettings: common),
    .target(name: "Controller",
      dependencies: ["Base", "Model", "Compression", "JSON", "Wire", "Records", "Election", "Raft", "Metadata", "LogCore", "Storage",
        "Environment", "Peers", nioCore],
      path: "Sources/Engine/Controller", swiftSettings: common + mutants),
    .target(name: "Broker",
      dependencies: ["Base", "Model", "Compression", "Records", "Wire", "Metadata", "Replication", "LogCore",
        "Environment", "Peers", "Raft", "Storage", "Controller", nioCore, collections],
      path: "Sources/Engine/Broker", swiftSettings: common + mutants),

    // Edges: the only code that touches the operating system.
    .target(name: "CPosix", path: "Sources/Edges/System/CPosix"),
    .target(name: "PosixDisk", dependencies: ["Base", "Environment", "CPosix", nioCore], path: "Sources/Edges/PosixDisk", swiftSettings: common),
    .target(name: "NIOServer", dependencies: ["Base", "Model", "Wire", "Environment", "Broker", nioCore, nioPosix],
      path: "Sources/Edges/NIOServer", swiftSettings: common),
    .target(name: "NIONetwork", dependencies: ["Base", "Wire", "Environment", nioCore, nioPosix],
      path: "Sources/Edges/NIONetwork", swiftSettings: common),
    .target(name: "Observability", dependencies: ["Base", "Model", "Environment", logging], path: "Sources/Edges/Observability", swiftSettings: common),
    .target(name: "KafkaClient", dependencies: ["Base", "Model", "Compression", "Records", "Wire", nioCore, nioPosix, collections],
      path: "Sources/Edges/KafkaClient", swiftSettings: common),

    // Lab: the virtual environment, and what runs in it.
    .target(name: "VirtualWorld", dependencies: ["Base", "Model", "Environment", nioCore, collections], path: "Sources/Lab/VirtualWorld", swiftSettings: common + mutants),
    .target(name: "ClusterSimulation",
      dependencies: ["Base", "Model", "Compression", "Records", "Wire", "Election", "Raft", "Metadata", "Replication", "LogCore",
        "Environment", "Peers", "Storage", "Controller", "Broker", "VirtualWorld", nioCore, collections],
      path: "Sources/Lab/ClusterSimulation", swiftSettings: common + mutants),

    // Tools: thin mains.
    .executableTarget(name: "wiregen", path: "Sources/Tools/wiregen", swiftSettings: common),
    .plugin(name: "WirePlugin", capability: .buildTool(), dependencies: ["wiregen"], path: "Sources/Tools/WirePlugin"),
    .executableTarget(name: "apus",
      dependencies: ["Base", "Model", "Compression", "JSON", "Records", "Wire", "Metadata", "Replication", "LogCore", "Environment",
        "Storage", "Controller", "Broker", "NIOServer", "NIONetwork", "PosixDisk", "Observability", "KafkaClient",
        "ClusterSimulation",
        argumentParser, logging, histogram, nioCore, nioPosix],
      path: "Sources/Tools/apus", swiftSettings: common + mutants),

    // Tests. One unit target per target; the others are named for what they prove.
    .testTarget(name: "BaseTests", dependencies: ["Base", "Model"], path: "Tests/Unit/BaseTests", swiftSettings: common),
    .testTarget(name: "CompressionTests", dependencies: ["Base", "Compression"], path: "Tests/Unit/CompressionTests", swiftSettings: common),
    .testTarget(name: "RecordsTests", dependencies: ["Base", "Model", "Compression", "Records", nioCore], path: "Tests/Unit/RecordsTests", swiftSettings: common),
    .testTarget(name: "WireTests", dependencies: ["Base", "Model", "Wire", "wiregen", nioCore], path: "Tests/Unit/WireTests", swiftSettings: common),
    .testTarget(name: "WiregenTests", dependencies: ["wiregen"], path: "Tests/Unit/WiregenTests", swiftSettings: common),
    .testTarget(name: "MetadataTests", dependencies: ["Base", "Model", "Metadata", "Replication"], path: "Tests/Unit/MetadataTests", swiftSettings: common),
    .testTarget(name: "ReplicationTests", dependencies: ["Base", "Model", "Replication", "LogCore"], path: "Tests/Unit/ReplicationTests",
      swiftSettings: common + mutants),
    .testTarget(name: "LogCoreTests", dependencies: ["Base", "Model", "LogCore"], path: "Tests/Unit/LogCoreTests", swiftSettings: common),
    .testTarget(name: "StorageTests",
      dependencies: ["Base", "Model", "Compression", "Records", "LogCore", "Environment", "Storage", "PosixDisk", "VirtualWorld", nioCore],
      path: "Tests/Unit/StorageTests", swiftSettings: common),
    .testTarget(name: "ControllerTests",
      dependencies: ["Base", "Model", "JSON", "Wire", "Records", "Raft", "Metadata", "LogCore", "Environment", "Storage", "Controller",
        "VirtualWorld", nioCore],
      path: "Tests/Unit/ControllerTests", swiftSettings: common),
    .testTarget(name: "BrokerTests",
      dependencies: ["Base", "Model", "Compression", "Records", "Wire", "Raft", "Metadata", "Replication", "LogCore", "Environment", "Peers",
        "Storage", "Controller", "Broker", "VirtualWorld", nioCore],
      path: "Tests/Unit/BrokerTests", swiftSettings: common),
    .testTarget(name: "NIOServerTests",
      dependencies: ["Base", "Model", "Wire", "Environment", "Broker", "NIOServer", "VirtualWorld", nioCore, nioPosix],
      path: "Tests/Unit/NIOServerTests", swiftSettings: common),
    .testTarget(name: "PeersTests", dependencies: ["Base", "Model", "Wire", "Environment", "Peers", "VirtualWorld", nioCore],
      path: "Tests/Unit/PeersTests", swiftSettings: common),
    .testTarget(name: "NIONetworkTests", dependencies: ["Base", "Environment", "NIONetwork", nioCore, nioPosix],
      path: "Tests/Unit/NIONetworkTests", swiftSettings: common),
    .testTarget(name: "VirtualWorldTests", dependencies: ["Base", "Model", "Environment", "VirtualWorld", nioCore],
      path: "Tests/Unit/VirtualWorldTests", swiftSettings: common),
    .testTarget(name: "ObservabilityTests", dependencies: ["Model", "Observability", logging], path: "Tests/Unit/ObservabilityTests",
      swiftSettings: common),
    .testTarget(name: "KafkaClientTests",
      dependencies: ["Base", "Model", "Compression", "Records", "Wire", "KafkaClient", nioCore, nioPosix],
      path: "Tests/Unit/KafkaClientTests", swiftSettings: common),
    .testTarget(name: "ApusTests",
      dependencies: ["apus", "Base", "Model", "Compression", "JSON", "Records", "Wire", "Metadata", "LogCore", "NIOServer", "KafkaClient",
        argumentParser, nioCore],
      path: "Tests/Unit/ApusTests", swiftSettings: common),
    .testTarget(name: "RaftTests", dependencies: ["Base", "Model", "Election", "Raft"], path: "Tests/Unit/RaftTests", swiftSettings: common),
    .testTarget(name: "RaftPaperTests", dependencies: ["Base", "Model", "Election", "Raft"], path: "Tests/Paper/Raft", swiftSettings: common),
    .testTarget(name: "RaftSimulation", dependencies: ["Base", "Model", "Election", "Raft"], path: "Tests/Simulation/Raft",
      swiftSettings: common + mutants),
    .testTarget(name: "ClusterSimulationTests", dependencies: ["Base", "Model", "ClusterSimulation"], path: "Tests/Simulation/Cluster",
      swiftSettings: common + mutants),
    .testTarget(name: "Tidy", path: "Tests/Tidy", swiftSettings: common),
  ],
  swiftLanguageModes: [.v6]
)

// swift-tools-version: 6.2
import PackageDescription

// The microbenchmarks, apart from the main package so that its users do not build the benchmark library.
// They measure what Apus keeps to itself (`package` declarations), so they build its sources as part of their own
// package, through the `Sources` link, rather than depend on it. The targets are those of ../Package.swift, which a tidy test sees to.

let common: [SwiftSetting] = [
  .enableUpcomingFeature("ExistentialAny"),
  .enableUpcomingFeature("MemberImportVisibility"),
  .enableUpcomingFeature("InternalImportsByDefault"),
  .enableUpcomingFeature("NonisolatedNonsendingByDefault"),
]
let nioCore: Target.Dependency = .product(name: "NIOCore", package: "swift-nio")
let collections: Target.Dependency = .product(name: "Collections", package: "swift-collections")

let package = Package(
  name: "apus-benchmarks",
  platforms: [.macOS("26.0")],
  dependencies: [
    .package(url: "https://github.com/ordo-one/benchmark", from: "1.38.0", traits: []),
    .package(url: "https://github.com/apple/swift-nio", from: "2.101.0"),
    .package(url: "https://github.com/apple/swift-collections", from: "1.6.0"),
  ],
  targets: [
    .systemLibrary(name: "CISAL", path: "Sources/Ground/System/CISAL", pkgConfig: "libisal"),
    .target(name: "Base", dependencies: ["CISAL", collections], path: "Sources/Ground/Base", swiftSettings: common),
    .target(name: "Model", dependencies: ["Base"], path: "Sources/Ground/Model", swiftSettings: common),
    .systemLibrary(name: "CZstd", path: "Sources/Formats/System/CZstd", pkgConfig: "libzstd"),
    .systemLibrary(name: "CLZ4", path: "Sources/Formats/System/CLZ4", pkgConfig: "liblz4"),
    .systemLibrary(name: "CSnappy", path: "Sources/Formats/System/CSnappy", pkgConfig: "snappy"),
    .systemLibrary(name: "CZlib", path: "Sources/Formats/System/CZlib", pkgConfig: "zlib"),
    .target(name: "Compression", dependencies: ["Base", "CZstd", "CLZ4", "CSnappy", "CZlib"],
      path: "Sources/Formats/Compression", swiftSettings: common),
    .target(name: "Records", dependencies: ["Base", "Model", "Compression", nioCore],
      path: "Sources/Formats/Records", swiftSettings: common),
    .target(name: "Wire", dependencies: ["Base", "Model", nioCore], path: "Sources/Formats/Wire",
      exclude: ["Schemas/README.md"], swiftSettings: common, plugins: ["WirePlugin"]),
    .executableTarget(name: "wiregen", path: "Sources/Tools/wiregen", swiftSettings: common),
    .plugin(name: "WirePlugin", capability: .buildTool(), dependencies: ["wiregen"], path: "Sources/Tools/WirePlugin"),
    .target(name: "LogCore", dependencies: ["Base", "Model", collections], path: "Sources/Cores/LogCore", swiftSettings: common),
    .target(name: "Environment", dependencies: ["Base", "Model", nioCore], path: "Sources/Engine/Environment", swiftSettings: common),
    .target(name: "Storage", dependencies: ["Base", "Model", "Records", "Compression", "LogCore", "Environment", nioCore, collections],
      path: "Sources/Engine/Storage", swiftSettings: common),
    .target(name: "CPosix", path: "Sources/Edges/System/CPosix"),
    .target(name: "PosixDisk", dependencies: ["Base", "Environment", "CPosix", nioCore],
      path: "Sources/Edges/PosixDisk", swiftSettings: common),
    .executableTarget(
      name: "Micro",
      dependencies: ["Base", "Model", "Compression", "Records", "Wire", "LogCore", "Environment", "Storage", "PosixDisk",
        .product(name: "Benchmark", package: "benchmark"), nioCore],
      path: "Micro", swiftSettings: common,
      plugins: [.plugin(name: "BenchmarkPlugin", package: "benchmark")]),
  ],
  swiftLanguageModes: [.v6]
)

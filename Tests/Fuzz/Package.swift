// swift-tools-version: 6.2
import PackageDescription

// The coverage-guided fuzz targets (`make fuzz`), a package of their own since everything in it is built with libFuzzer's
// instrumentation. It builds the sources it attacks through the `Sources` link. The targets are those of
// ../../Package.swift, which a tidy test sees to.

let common: [SwiftSetting] = [
  .enableUpcomingFeature("ExistentialAny"),
  .enableUpcomingFeature("MemberImportVisibility"),
  .enableUpcomingFeature("InternalImportsByDefault"),
  .enableUpcomingFeature("NonisolatedNonsendingByDefault"),
  .unsafeFlags(["-sanitize=fuzzer,address"]),
]
let nioCore: Target.Dependency = .product(name: "NIOCore", package: "swift-nio")
let collections: Target.Dependency = .product(name: "Collections", package: "swift-collections")

let package = Package(
  name: "apus-fuzz",
  platforms: [.macOS("26.0")],
  dependencies: [
    .package(url: "https://github.com/apple/swift-nio", from: "2.101.0"),
    .package(url: "https://github.com/apple/swift-collections", from: "1.6.0"),
  ],
  targets: [
    .systemLibrary(name: "CISAL", path: "Sources/Ground/System/CISAL", pkgConfig: "libisal"),
    .systemLibrary(name: "CZstd", path: "Sources/Formats/System/CZstd", pkgConfig: "libzstd"),
    .systemLibrary(name: "CLZ4", path: "Sources/Formats/System/CLZ4", pkgConfig: "liblz4"),
    .systemLibrary(name: "CSnappy", path: "Sources/Formats/System/CSnappy", pkgConfig: "snappy"),
    .systemLibrary(name: "CZlib", path: "Sources/Formats/System/CZlib", pkgConfig: "zlib"),
    .target(name: "Base", dependencies: ["CISAL", collections], path: "Sources/Ground/Base", swiftSettings: common),
    .target(name: "Model", dependencies: ["Base"], path: "Sources/Ground/Model", swiftSettings: common),
    .target(name: "Compression", dependencies: ["Base", "CZstd", "CLZ4", "CSnappy", "CZlib"],
      path: "Sources/Formats/Compression", swiftSettings: common),
    .target(name: "Records", dependencies: ["Base", "Model", "Compression", nioCore],
      path: "Sources/Formats/Records", swiftSettings: common),
    .target(name: "Wire", dependencies: ["Base", "Model", nioCore], path: "Sources/Formats/Wire",
      exclude: ["Schemas/README.md"], swiftSettings: common, plugins: ["WirePlugin"]),
    .executableTarget(name: "wiregen", path: "Sources/Tools/wiregen"),
    .plugin(name: "WirePlugin", capability: .buildTool(), dependencies: ["wiregen"], path: "Sources/Tools/WirePlugin"),
    .executableTarget(name: "fuzz", dependencies: ["Base", "Model", "Compression", "Records", "Wire", nioCore],
      path: "Targets", swiftSettings: common,
      linkerSettings: [.unsafeFlags(["-sanitize=fuzzer,address", "-use-ld=lld"])]),
  ],
  swiftLanguageModes: [.v6]
)

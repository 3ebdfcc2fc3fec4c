// swift-tools-version: 6.2
import PackageDescription

// The microbenchmarks, apart from the main package so that its users do not build the benchmark library.
// They measure what Apus keeps to itself (`package` declarations), so they build its sources as part of their own
// package, through the `Sources` link, rather than depend on it. The targets are those of ../Package.swift.

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
    .executableTarget(
      name: "Micro",
      dependencies: ["Base", "Model", .product(name: "Benchmark", package: "benchmark"), nioCore],
      path: "Micro", swiftSettings: common,
      plugins: [.plugin(name: "BenchmarkPlugin", package: "benchmark")]),
  ],
  swiftLanguageModes: [.v6]
)

// swift-tools-version: 6.2
import PackageDescription

/// Every target of ours builds with these; dependencies are not affected.
let strict: [SwiftSetting] = [
    .treatAllWarnings(as: .error), .strictMemorySafety(),
    .enableUpcomingFeature("ExistentialAny"), .enableUpcomingFeature("InternalImportsByDefault"),
    .enableUpcomingFeature("MemberImportVisibility"),
]

let nioCore = Target.Dependency.product(name: "NIOCore", package: "swift-nio")
let nioPosix = Target.Dependency.product(name: "NIOPosix", package: "swift-nio")
let nioEmbedded = Target.Dependency.product(name: "NIOEmbedded", package: "swift-nio")
let logging = Target.Dependency.product(name: "Logging", package: "swift-log")
let collections = Target.Dependency.product(name: "Collections", package: "swift-collections")
let crypto = Target.Dependency.product(name: "Crypto", package: "swift-crypto")
let lifecycle = Target.Dependency.product(
    name: "ServiceLifecycle", package: "swift-service-lifecycle")
let arguments = Target.Dependency.product(
    name: "ArgumentParser", package: "swift-argument-parser")
let histogram = Target.Dependency.product(name: "Histogram", package: "hdrhistogram-swift")

/// A target under `Sources/`, with the project's settings.
func library(_ name: String, _ dependencies: [Target.Dependency]) -> Target {
    .target(name: name, dependencies: dependencies, swiftSettings: strict)
}

/// A test target under `Tests/`, with the project's settings.
func tests(_ name: String, _ dependencies: [Target.Dependency]) -> Target {
    .testTarget(name: name, dependencies: dependencies, swiftSettings: strict)
}

let package = Package(
    name: "weed",
    products: [.executable(name: "weed", targets: ["weed"])],
    dependencies: [
        .package(url: "https://github.com/apple/swift-nio", from: "2.101.2"),
        .package(url: "https://github.com/apple/swift-log", from: "1.16.2"),
        .package(url: "https://github.com/apple/swift-collections", from: "1.6.0"),
        .package(url: "https://github.com/apple/swift-crypto", from: "4.5.2"),
        .package(url: "https://github.com/apple/swift-argument-parser", from: "1.8.2"),
        .package(
            url: "https://github.com/swift-server/swift-service-lifecycle", from: "2.13.0"),
        .package(url: "https://github.com/HdrHistogram/hdrhistogram-swift", from: "0.2.0"),
    ],
    targets: [
        .systemLibrary(name: "CLMDB", pkgConfig: "lmdb", providers: [.apt(["liblmdb-dev"])]),
        .systemLibrary(name: "CZlib", pkgConfig: "zlib", providers: [.apt(["zlib1g-dev"])]),
        .target(name: "CPosix"),
        library("LMDB", ["CLMDB"]),
        library("Platform", ["CPosix"]),
        library("Model", []),
        library("Wire", ["Model"]),
        library("Needles", ["LMDB", "Platform", "Model", nioCore, logging]),
        library("HTTPServer", ["Platform", nioCore, nioPosix, logging]),
        library("RaftLog", ["LMDB", "Platform"]),
        library(
            "Master",
            [
                "HTTPServer", "Wire", "Model", "RaftLog", "Platform", nioCore, nioPosix, logging,
                collections,
            ]),
        library(
            "Volume",
            [
                "HTTPServer", "Wire", "Model", "Needles", "Platform", "CZlib", nioCore, nioPosix,
                logging, crypto,
            ]),
        .executableTarget(
            name: "weed",
            dependencies: [
                "Master", "Volume", "Needles", "HTTPServer", "Wire", "Model", "Platform",
                nioCore, nioPosix, logging, lifecycle, arguments, histogram,
            ], swiftSettings: strict),

        .target(
            name: "TestSupport", dependencies: ["Platform", "Model", nioCore, crypto],
            path: "Tests/TestSupport", swiftSettings: strict),
        tests("LMDBTests", ["LMDB", "TestSupport"]),
        tests("PlatformTests", ["Platform", "TestSupport"]),
        tests("ModelTests", ["Model"]),
        tests("WireTests", ["Wire", "Model"]),
        tests(
            "NeedlesTests",
            ["Needles", "LMDB", "Platform", "Model", "TestSupport", nioCore, logging]),
        tests(
            "HTTPServerTests",
            ["HTTPServer", "TestSupport", nioCore, nioPosix, nioEmbedded, logging]),
        tests("RaftLogTests", ["RaftLog", "LMDB", "TestSupport"]),
        tests(
            "MasterTests",
            [
                "Master", "HTTPServer", "Wire", "Model", "RaftLog", "TestSupport", nioCore,
                nioPosix, logging,
            ]),
        tests(
            "VolumeTests",
            [
                "Volume", "HTTPServer", "Needles", "Wire", "Model", "Platform", "TestSupport",
                nioCore, nioPosix, logging,
            ]),
        tests(
            "WeedTests",
            ["weed", "Model", "Platform", "TestSupport", arguments, nioCore, logging, histogram]),
        .testTarget(
            name: "SimulationTests",
            dependencies: ["Needles", "Platform", "Model", nioCore, logging],
            path: "Tests/Simulation", swiftSettings: strict),
    ],
    swiftLanguageModes: [.v6]
)

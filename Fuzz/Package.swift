// swift-tools-version: 6.2
import PackageDescription

/// Coverage for the fuzzer and checks of every access; the sources are those of the main package, by links.
let checked: [SwiftSetting] = [
    .unsafeFlags(["-sanitize=fuzzer,address", "-O", "-enable-testing"]),
    .enableUpcomingFeature("ExistentialAny"), .enableUpcomingFeature("InternalImportsByDefault"),
    .enableUpcomingFeature("MemberImportVisibility"),
]
let nioCore = Target.Dependency.product(name: "NIOCore", package: "swift-nio")
let nioPosix = Target.Dependency.product(name: "NIOPosix", package: "swift-nio")
let logging = Target.Dependency.product(name: "Logging", package: "swift-log")
let crypto = Target.Dependency.product(name: "Crypto", package: "swift-crypto")

func library(
    _ name: String, _ dependencies: [Target.Dependency], exclude: [String] = []
) -> Target {
    .target(name: name, dependencies: dependencies, exclude: exclude, swiftSettings: checked)
}

let package = Package(
    name: "Fuzz",
    dependencies: [
        .package(url: "https://github.com/apple/swift-nio", from: "2.101.2"),
        .package(url: "https://github.com/apple/swift-log", from: "1.16.2"),
        .package(url: "https://github.com/apple/swift-crypto", from: "4.5.2"),
    ],
    targets: [
        .systemLibrary(name: "CLMDB", pkgConfig: "lmdb", providers: [.apt(["liblmdb-dev"])]),
        .target(
            name: "CPosix",
            cSettings: [.unsafeFlags(["-fsanitize=fuzzer-no-link,address", "-O2"])]),
        .target(name: "CGzip", linkerSettings: [.linkedLibrary("z")]),
        library("LMDB", ["CLMDB"]),
        library("Platform", ["CPosix"]),
        library("Model", []),
        library("Wire", ["Model"]),
        library("Needles", ["LMDB", "Platform", "Model", nioCore, logging]),
        library("HTTPServer", ["Platform", nioCore, nioPosix, logging]),
        library("HTTPClient", ["HTTPServer", nioCore, nioPosix]),
        library(
            "Volume",
            [
                "HTTPServer", "HTTPClient", "Wire", "Model", "Needles", "Platform", "CGzip",
                nioCore, nioPosix, logging, crypto,
            ],
            exclude: ["RPC"]),
        .executableTarget(
            name: "Fuzz",
            dependencies: [
                "Needles", "Model", "HTTPServer", "Volume", "Platform", nioCore, logging,
            ],
            swiftSettings: checked,
            linkerSettings: [.unsafeFlags(["-sanitize=fuzzer,address", "-use-ld=lld"])]),
    ],
    swiftLanguageModes: [.v6]
)

import Glibc

/// One thing to fuzz.
///
/// Takes any bytes, must neither crash nor hang, nor break what it promises.
struct FuzzTarget: Sendable {
    let name: String
    let run: @Sendable (ByteInput) -> Void
}

/// Every target, and the one that `FUZZ_TARGET` names.
enum Fuzz {
    static let targets =
        EngineTargets.all + IndexTargets.all + HTTPTargets.all + UploadTargets.all

    static let chosen: FuzzTarget? = {
        let wanted = getenv("FUZZ_TARGET").map { String(cString: $0) } ?? ""
        return targets.first { $0.name == wanted }
    }()
}

/// The entry point: SwiftPM renames `main` in debug builds, so that libFuzzer's own is not used.
@_cdecl("Fuzz_main")
public func fuzzMain(
    _ count: CInt, _ arguments: UnsafeMutablePointer<UnsafeMutablePointer<CChar>?>
) -> CInt {
    guard Fuzz.chosen != nil else {
        print(Fuzz.targets.map(\.name).joined(separator: "\n"))
        return getenv("FUZZ_TARGET") == nil ? 0 : 2
    }
    var count = count
    var arguments = arguments
    return runDriver(&count, &arguments, testOneInput)
}

@_silgen_name("LLVMFuzzerRunDriver")
private func runDriver(
    _ count: UnsafeMutablePointer<CInt>,
    _ arguments: UnsafeMutablePointer<UnsafeMutablePointer<UnsafeMutablePointer<CChar>?>>,
    _ test: @convention(c) (UnsafePointer<UInt8>?, Int) -> CInt
) -> CInt

/// What libFuzzer calls with one input after the other.
@_cdecl("LLVMFuzzerTestOneInput")
public func testOneInput(_ bytes: UnsafePointer<UInt8>?, _ count: Int) -> CInt {
    Fuzz.chosen?.run(ByteInput(Array(UnsafeBufferPointer(start: bytes, count: count))))
    return 0
}

/// The bytes of one run, taken from the front.
struct ByteInput {
    private(set) var rest: ArraySlice<UInt8>

    init(_ bytes: [UInt8]) { rest = bytes[...] }

    var all: [UInt8] { Array(rest) }
    var isEmpty: Bool { rest.isEmpty }

    mutating func byte() -> UInt8 { rest.popFirst() ?? 0 }

    mutating func word() -> Int { Int(byte()) << 8 | Int(byte()) }

    mutating func take(_ count: Int) -> [UInt8] {
        defer { rest = rest.dropFirst(count) }
        return Array(rest.prefix(count))
    }
}

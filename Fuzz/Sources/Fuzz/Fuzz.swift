import CFuzzer
import Glibc

/// One thing to fuzz: takes any bytes, must neither crash nor hang, nor break what it promises.
struct FuzzTarget: Sendable {
    let name: String
    let run: @Sendable (ByteInput) -> Void
}

/// Set once before the fuzzer starts, read by it only.
nonisolated(unsafe) private var chosen: FuzzTarget?

/// libFuzzer over one parser: `FUZZ_TARGET=needle Fuzz CORPUS -max_total_time=30`.
@main struct Fuzz {
    static let targets =
        EngineTargets.all + IndexTargets.all + HTTPTargets.all + UploadTargets.all

    static func main() {
        let wanted = getenv("FUZZ_TARGET").map { String(cString: $0) } ?? ""
        guard let target = targets.first(where: { $0.name == wanted }) else {
            print(targets.map(\.name).joined(separator: "\n"))
            exit(wanted.isEmpty ? 0 : 2)
        }
        chosen = target
        var count = CommandLine.argc
        var arguments = Optional(CommandLine.unsafeArgv)
        exit(
            LLVMFuzzerRunDriver(&count, &arguments) { bytes, length in
                let input = UnsafeBufferPointer(start: bytes, count: length)
                chosen?.run(ByteInput(Array(input)))
                return 0
            })
    }
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

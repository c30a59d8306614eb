import Model
import NIOCore
import Synchronization

/// What every request of a benchmark has in common.
struct BenchmarkPlan: Sendable {
    /// Where files are assigned and looked up.
    var master: Endpoint
    /// Bytes of a file.
    var size: Int
    /// The collection to write to.
    var collection: String
    /// Copies of a file; empty for the master's default.
    var replication: String
    /// Whether writes ask to be on disk.
    var forcesSync: Bool
    /// What contents and order follow from.
    var seed: UInt64

    /// The request line's target of an assign.
    var assignTarget: String {
        var target = "/dir/assign?count=1"
        if !collection.isEmpty { target += "&collection=\(BenchmarkPlan.escaped(collection))" }
        if !replication.isEmpty { target += "&replication=\(BenchmarkPlan.escaped(replication))" }
        return target
    }

    /// Percent-escapes everything that has a meaning in a query.
    static func escaped(_ text: String) -> String {
        var result = ""
        for byte in text.utf8 {
            switch byte {
            case 0x30...0x39, 0x41...0x5a, 0x61...0x7a, 0x2d, 0x2e, 0x5f, 0x7e:
                result.unicodeScalars.append(Unicode.Scalar(byte))
            default:
                result += "%" + (byte < 16 ? "0" : "") + String(byte, radix: 16, uppercase: true)
            }
        }
        return result
    }
}

/// What one phase does.
enum PhaseKind: String, Sendable {
    case write, read, delete
}

/// A file that was written, and where.
struct UploadedFile: Sendable, Hashable {
    /// Its id.
    let id: FileID
}

/// The work of one phase, shared by all connections.
final class PhaseProgress: Sendable {
    /// How many requests there are in all.
    let total: Int
    private let taken = Atomic<Int>(0)
    private let finished = Atomic<Int>(0)
    private let failures = Atomic<Int>(0)
    private let stopped = Atomic<Bool>(false)

    /// A phase of `total` requests.
    init(total: Int) { self.total = total }

    /// The number of the next request to make; `nil` when all are taken.
    func take() -> Int? {
        guard !stopped.load(ordering: .relaxed) else { return nil }
        let number = taken.wrappingAdd(1, ordering: .relaxed).oldValue
        return number < total ? number : nil
    }

    /// One request is done.
    func completed(ok: Bool) {
        if !ok { failures.wrappingAdd(1, ordering: .relaxed) }
        finished.wrappingAdd(1, ordering: .relaxed)
    }

    /// No more requests will be taken: the servers do not answer.
    func stop() { stopped.store(true, ordering: .relaxed) }

    /// Requests done so far.
    var done: Int { finished.load(ordering: .relaxed) }
    /// Of those, how many failed.
    var failed: Int { failures.load(ordering: .relaxed) }
    /// Whether the phase was given up.
    var wasStopped: Bool { stopped.load(ordering: .relaxed) }
}

/// The bytes of a benchmark file: they follow from its id, so that a reader can tell them from any other
/// file's without keeping them.
enum Payload {
    /// Appends the `size` bytes of `file` to `buffer`.
    static func append(_ size: Int, of file: FileID, seed: UInt64, to buffer: inout ByteBuffer) {
        var state = start(file, seed)
        for _ in 0..<size / 8 {
            buffer.writeInteger(next(&state), endianness: .little)
        }
        var last = next(&state)
        for _ in 0..<size % 8 {
            buffer.writeInteger(UInt8(truncatingIfNeeded: last))
            last >>= 8
        }
    }

    /// The first byte of `body` that is not `file`'s; `nil` when all `size` bytes are right.
    static func firstDifference(
        in body: ByteBuffer, size: Int, of file: FileID, seed: UInt64
    ) -> Int? {
        guard body.readableBytes == size else { return min(size, body.readableBytes) }
        var state = start(file, seed)
        var body = body
        var offset = 0
        while let word = body.readInteger(endianness: .little, as: UInt64.self) {
            guard word == next(&state) else { return offset }
            offset += 8
        }
        var last = next(&state)
        while let byte = body.readInteger(as: UInt8.self) {
            guard byte == UInt8(truncatingIfNeeded: last) else { return offset }
            last >>= 8
            offset += 1
        }
        return nil
    }

    private static func start(_ file: FileID, _ seed: UInt64) -> UInt64 {
        var state = seed ^ file.key &* 0xff51_afd7_ed55_8ccd
        state ^= UInt64(file.volume) << 32 | UInt64(file.cookie)
        return next(&state)
    }

    /// SplitMix64: every start gives another sequence, at a nanosecond a word.
    static func next(_ state: inout UInt64) -> UInt64 {
        state &+= 0x9e37_79b9_7f4a_7c15
        var z = state
        z = (z ^ z >> 30) &* 0xbf58_476d_1ce4_e5b9
        z = (z ^ z >> 27) &* 0x94d0_49bb_1331_11eb
        return z ^ z >> 31
    }
}

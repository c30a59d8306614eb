import Model

/// Bytes that are no state or command of this version.
enum MasterCodingError: Error, Sendable, Hashable, CustomStringConvertible {
    case version(found: UInt8, expected: UInt8)
    case unknownCommand(UInt8)
    case truncated(at: Int, wanted: Int, length: Int)
    case trailing(at: Int, length: Int)
    case notText(at: Int)
    case contradictory
    case unknownEntry(type: UInt8, index: UInt64)

    var description: String {
        switch self {
        case .version(let found, let expected):
            "master state of version \(found), expected \(expected): written by another release"
        case .unknownCommand(let tag):
            "master log entry of unknown kind \(tag): written by a newer release"
        case .truncated(let at, let wanted, let length):
            "master state ends early: \(wanted) bytes wanted at \(at), \(length) bytes in all"
        case .trailing(let at, let length):
            "master state ends at \(at), but has \(length) bytes"
        case .notText(let at): "master state has a text at \(at) that is not UTF-8"
        case .contradictory:
            "master state contradicts itself: ids or keys given out lie above their own maximum"
        case .unknownEntry(let type, let index):
            "master log entry \(index) has unknown type \(type): written by a newer release"
        }
    }
}

/// Integers big-endian, texts with a 16-bit length in front.
///
/// The layout is in `docs/format.md`.
struct ByteEncoder {
    private(set) var bytes: [UInt8] = []

    mutating func put(_ value: some FixedWidthInteger & UnsignedInteger) {
        var shift = value.bitWidth
        while shift > 0 {
            shift -= 8
            bytes.append(UInt8(truncatingIfNeeded: value >> shift))
        }
    }

    /// Writes at most 65,535 bytes of a text.
    mutating func put(_ text: String) {
        let utf8 = text.utf8.prefix(Int(UInt16.max))
        put(UInt16(utf8.count))
        bytes.append(contentsOf: utf8)
    }
}

/// Reads what ``ByteEncoder`` wrote; every failure is an error, whatever the bytes are.
struct ByteDecoder {
    private let bytes: [UInt8]
    private var position = 0

    init(_ bytes: [UInt8]) { self.bytes = bytes }

    mutating func integer<I: FixedWidthInteger & UnsignedInteger>(
        _ type: I.Type = I.self
    ) throws(MasterCodingError) -> I {
        let width = I.bitWidth / 8
        try require(width)
        var value: I = 0
        for byte in bytes[position..<position + width] { value = value << 8 | I(byte) }
        position += width
        return value
    }

    mutating func text() throws(MasterCodingError) -> String {
        let count = Int(try integer(UInt16.self))
        try require(count)
        guard let text = String(validating: bytes[position..<position + count], as: UTF8.self)
        else { throw .notText(at: position) }
        position += count
        return text
    }

    func end() throws(MasterCodingError) {
        guard position == bytes.count else { throw .trailing(at: position, length: bytes.count) }
    }

    private func require(_ count: Int) throws(MasterCodingError) {
        guard bytes.count - position >= count else {
            throw .truncated(at: position, wanted: count, length: bytes.count)
        }
    }
}

extension MasterCommand {
    /// Version of the encoding, its first byte.
    static let version: UInt8 = 1

    /// The bytes of a log entry.
    var encoded: [UInt8] {
        var out = ByteEncoder()
        out.put(MasterCommand.version)
        switch self {
        case .setTopologyID(let id):
            out.put(1 as UInt8)
            out.put(id)
        case .allocateVolumeIDs(let count, let request):
            out.put(2 as UInt8)
            out.put(count)
            out.put(request.high)
            out.put(request.low)
        case .raiseMaxVolumeID(let id):
            out.put(3 as UInt8)
            out.put(id)
        case .reserveKeys(let count):
            out.put(4 as UInt8)
            out.put(count)
        case .raiseKeyCeiling(let key):
            out.put(5 as UInt8)
            out.put(key)
        }
        return out.bytes
    }

    /// Reads a log entry.
    ///
    /// An unknown kind is an error, never skipped: skipping would fork the state.
    init(decoding bytes: [UInt8]) throws(MasterCodingError) {
        var input = ByteDecoder(bytes)
        let version = try input.integer(UInt8.self)
        guard version == MasterCommand.version else {
            throw .version(found: version, expected: MasterCommand.version)
        }
        switch try input.integer(UInt8.self) {
        case 1: self = .setTopologyID(try input.text())
        case 2:
            let count = try input.integer(UInt32.self)
            let high = try input.integer(UInt64.self)
            let low = try input.integer(UInt64.self)
            self = .allocateVolumeIDs(count: count, request: RequestID(high: high, low: low))
        case 3: self = .raiseMaxVolumeID(try input.integer())
        case 4: self = .reserveKeys(count: try input.integer())
        case 5: self = .raiseKeyCeiling(try input.integer())
        case let tag: throw .unknownCommand(tag)
        }
        try input.end()
    }
}

extension MasterState {
    /// Version of the encoding, its first byte.
    static let version: UInt8 = 1

    /// The bytes of a snapshot.
    var encoded: [UInt8] {
        var out = ByteEncoder()
        out.put(MasterState.version)
        out.put(topologyID ?? "")
        out.put(maxVolumeID)
        out.put(keyCeiling)
        out.put(UInt16(allocations.count))
        for allocation in allocations {
            out.put(allocation.request.high)
            out.put(allocation.request.low)
            out.put(allocation.first)
            out.put(allocation.count)
        }
        return out.bytes
    }

    /// Reads a snapshot.
    init(decoding bytes: [UInt8]) throws(MasterCodingError) {
        var input = ByteDecoder(bytes)
        let version = try input.integer(UInt8.self)
        guard version == MasterState.version else {
            throw .version(found: version, expected: MasterState.version)
        }
        let topologyID = try input.text()
        let maxVolumeID = try input.integer(VolumeID.self)
        let keyCeiling = try input.integer(NeedleKey.self)
        var allocations: [Allocation] = []
        for _ in 0..<Int(try input.integer(UInt16.self)) {
            let high = try input.integer(UInt64.self)
            let low = try input.integer(UInt64.self)
            let first = try input.integer(VolumeID.self)
            let count = try input.integer(UInt32.self)
            allocations.append(
                Allocation(
                    request: RequestID(high: high, low: low), first: first, count: count))
        }
        try input.end()
        guard
            let state = MasterState(
                topologyID: topologyID.isEmpty ? nil : topologyID, maxVolumeID: maxVolumeID,
                keyCeiling: keyCeiling, allocations: allocations)
        else { throw .contradictory }
        self = state
    }
}

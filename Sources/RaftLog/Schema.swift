import LMDB
import Platform

/// The bytes of the database file.
///
/// All numbers are big-endian; every value carries a CRC-32C, because LMDB checks nothing.
///
/// | table  | key          | value |
/// |--------|--------------|-------|
/// | `meta` | name         | crc 4, fields; the CRC covers name and fields |
/// | `log`  | index 8      | crc 4, version 1, type 1, term 8, previous crc 4, payload |
/// | `sm`   | `state`      | applied index 8, crc 4, blob; the CRC covers index and blob |
/// | `addr` | node id 8    | address hints, never trusted |
///
/// An entry's CRC covers its index and everything after the CRC, so also the CRC of the entry
/// before: a chain. `meta` holds `version` (4), `node_id` (8), `cluster_id` (16, absent until
/// known), `hard_state` (term 8, vote 8, commit 8), `first_index` (first index 8, then term 8 and
/// crc 4 of the entry before it).
enum Schema {
    static let version: UInt32 = 1
    static let entryVersion: UInt8 = 1
    static let entryHeaderBytes = 18
    static let tables = ["meta", "log", "sm", "addr"]
    static let stateKey = "state"

    /// Names in `meta`.
    enum Meta: String {
        case version, nodeID = "node_id", clusterID = "cluster_id"
        case hardState = "hard_state", firstIndex = "first_index"
    }

    /// Where the log begins, and what the entry before that was.
    struct Start: Equatable {
        var index: UInt64 = 1
        var previousTerm: UInt64 = 0
        var previousCRC: UInt32 = 0
    }

    /// An entry's place in the chain.
    struct Link: Equatable {
        var index, term: UInt64
        var crc: UInt32
    }

    static func encode(_ entry: Entry, after previousCRC: UInt32) -> (value: [UInt8], crc: UInt32) {
        var covered: [UInt8] = []
        covered.reserveCapacity(8 + entryHeaderBytes - 4 + entry.payload.count)
        covered.append(number: entry.index)
        covered.append(entryVersion)
        covered.append(entry.type)
        covered.append(number: entry.term)
        covered.append(number: previousCRC)
        covered += entry.payload
        let crc = covered.crc
        var value: [UInt8] = []
        value.reserveCapacity(entryHeaderBytes + entry.payload.count)
        value.append(number: crc)
        value += covered[8...]
        return (value, crc)
    }

    /// Decodes and verifies; the chain is the caller's to check against `previousCRC`.
    static func decode(
        _ value: [UInt8], index: UInt64, path: String
    ) throws(RaftLogError) -> (entry: Entry, crc: UInt32, previousCRC: UInt32) {
        let record = "log entry \(index)"
        guard value.count >= entryHeaderBytes else {
            throw .damaged(
                path: path, record: record, expected: "at least \(entryHeaderBytes) bytes",
                found: "\(value.count)")
        }
        let stored: UInt32 = value.number(at: 0)
        var covered: [UInt8] = []
        covered.append(number: index)
        covered += value[4...]
        try check(stored, covered.crc, path, record)
        guard value[4] == entryVersion else {
            throw .unknownVersion(path: path, record: record, version: UInt32(value[4]))
        }
        let entry = Entry(
            index: index, term: value.number(at: 6), type: value[5],
            payload: Array(value[entryHeaderBytes...]))
        return (entry, stored, value.number(at: 14))
    }

    static func encode(_ name: Meta, _ fields: [UInt8]) -> [UInt8] {
        var value: [UInt8] = []
        value.append(number: (Array(name.rawValue.utf8) + fields).crc)
        return value + fields
    }

    static func decode(
        _ name: Meta, _ value: [UInt8], count: Int, path: String
    ) throws(RaftLogError) -> [UInt8] {
        let record = "meta record \(name.rawValue)"
        guard value.count == 4 + count else {
            throw .damaged(
                path: path, record: record, expected: "\(4 + count) bytes", found: "\(value.count)")
        }
        let fields = Array(value[4...])
        try check(value.number(at: 0), (Array(name.rawValue.utf8) + fields).crc, path, record)
        return fields
    }

    static func encode(_ state: AppliedState) -> [UInt8] {
        var value: [UInt8] = []
        value.append(number: state.appliedIndex)
        value.append(number: (value + state.blob).crc)
        return value + state.blob
    }

    static func decodeState(_ value: [UInt8], path: String) throws(RaftLogError) -> AppliedState {
        guard value.count >= 12 else {
            throw .damaged(
                path: path, record: "state", expected: "at least 12 bytes",
                found: "\(value.count)")
        }
        let blob = Array(value[12...])
        try check(value.number(at: 8), (Array(value[..<8]) + blob).crc, path, "state")
        return AppliedState(appliedIndex: value.number(at: 0), blob: blob)
    }

    private static func check(
        _ stored: UInt32, _ computed: UInt32, _ path: String, _ record: String
    ) throws(RaftLogError) {
        guard stored == computed else {
            throw .damaged(
                path: path, record: record,
                expected: "checksum \(String(stored, radix: 16)) as stored",
                found: "\(String(computed, radix: 16)) computed")
        }
    }
}

extension [UInt8] {
    mutating func append(number: some FixedWidthInteger) {
        unsafe Swift.withUnsafeBytes(of: number.bigEndian) { unsafe append(contentsOf: $0) }
    }

    /// The big-endian number at an offset; the caller checked the length.
    func number<T: FixedWidthInteger>(at offset: Int) -> T {
        T(
            bigEndian: unsafe withUnsafeBytes {
                unsafe $0.loadUnaligned(fromByteOffset: offset, as: T.self)
            })
    }

    var crc: UInt32 { unsafe CRC32C.checksum(span.bytes) }
}

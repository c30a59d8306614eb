internal import LMDB
internal import Model
internal import NIOCore

/// The index of one volume: an LMDB file with an entry for every needle below a watermark.
///
/// The data file is the truth; the index may be thrown away and built again at any time.
final class NeedleIndex: Sendable {
    /// Entries put in one transaction while an index is built.
    static let buildBatch = 65_536
    /// Map to begin with; it doubles when full.
    static let initialMap = 16 << 20

    let volume: VolumeID
    let path: String
    let environment: Environment
    let entries: Table
    private let meta: Table

    /// Opens or creates the file at `path`.
    init(volume: VolumeID, path: String, readOnly: Bool = false) throws(NeedleError) {
        self.volume = volume
        self.path = path
        do {
            var options = Environment.Options(tables: ["needles", "meta"])
            options.mapSize = NeedleIndex.initialMap
            options.readOnly = readOnly
            options.createIfMissing = !readOnly
            options.randomAccess = true
            environment = try Environment(path: path, options: options)
            entries = try environment.table("needles")
            meta = try environment.table("meta")
        } catch {
            throw NeedleIndex.failure(error, volume)
        }
    }

    private static func failure(_ error: LMDBError, _ volume: VolumeID) -> NeedleError {
        if case .diskFull = error { return .diskFull(error.description) }
        return .index(volume, error.description)
    }

    private func attempt<R>(_ body: () throws(LMDBError) -> R) throws(NeedleError) -> R {
        do {
            return try body()
        } catch {
            throw NeedleIndex.failure(error, volume)
        }
    }

    /// The entry of a key; `nil` when there is none.
    ///
    /// An entry whose checksum is wrong is an error.
    func lookup(_ key: NeedleKey) throws(NeedleError) -> IndexEntry? {
        let words = try attempt { () throws(LMDBError) in
            try environment.value16(for: key, in: entries)
        }
        guard let words else { return nil }
        guard let entry = IndexEntry(words, for: key) else {
            throw .index(volume, "the entry of needle \(hex(key)) in \(path) has a wrong checksum")
        }
        return entry
    }

    /// Stores entries, ascending by key, and the checkpoint if given, in one durable transaction.
    func commit(
        _ changes: [(key: NeedleKey, entry: IndexEntry)], _ checkpoint: Checkpoint?
    ) throws(NeedleError) {
        try attempt { () throws(LMDBError) in
            try environment.write { transaction throws(LMDBError) in
                for (key, entry) in changes {
                    let words = entry.words(for: key)
                    try transaction.put16(words.0, words.1, for: key, in: entries)
                }
                if let checkpoint {
                    try transaction.put(
                        checkpoint.bytes.readableBytesSpan, for: 0, in: meta)
                }
            }
        }
    }

    /// The checkpoint stored last; `nil` when there is none or it cannot be read.
    func checkpoint() throws(NeedleError) -> Checkpoint? {
        let bytes = try attempt { () throws(LMDBError) in
            try environment.read { transaction throws(LMDBError) in
                try transaction.value(for: 0, in: meta)
            }
        }
        return bytes.flatMap { Checkpoint(ByteBuffer(bytes: $0)) }
    }

    /// At most `limit` entries from `key` on, ascending.
    ///
    /// `entry` is `nil` where the checksum is wrong.
    ///
    /// Each call reads its own snapshot, so that a long walk never keeps old pages alive.
    func page(
        from key: NeedleKey, limit: Int
    ) throws(NeedleError) -> [(key: NeedleKey, entry: IndexEntry?)] {
        var found: [(key: NeedleKey, entry: IndexEntry?)] = []
        found.reserveCapacity(limit)
        try attempt { () throws(LMDBError) in
            try environment.read { transaction throws(LMDBError) in
                try transaction.forEach(in: entries, from: key) {
                    (key, value) throws(LMDBError) in
                    let words = NeedleIndex.words(value)
                    found.append((key, words.flatMap { IndexEntry($0, for: key) }))
                    return found.count < limit ? .next : .stop
                }
            }
        }
        return found
    }

    /// Calls `body` for every entry, ascending by key.
    func forEach(
        _ body: (NeedleKey, IndexEntry?) throws(NeedleError) -> Void
    ) throws(NeedleError) {
        var from: NeedleKey = 0
        while true {
            let found = try page(from: from, limit: 4096)
            for (key, entry) in found { try body(key, entry) }
            guard found.count == 4096, let last = found.last, last.key < .max else { return }
            from = last.key + 1
        }
    }

    private static func words(_ value: RawSpan) -> (UInt64, UInt64)? {
        guard value.byteCount == 16 else { return nil }
        let high = unsafe value.unsafeLoadUnaligned(fromByteOffset: 0, as: UInt64.self)
        let low = unsafe value.unsafeLoadUnaligned(fromByteOffset: 8, as: UInt64.self)
        return (UInt64(bigEndian: high), UInt64(bigEndian: low))
    }

    /// Entries, tree depth, and bytes in use.
    func statistics() throws(NeedleError) -> (entries: Int, depth: Int, usedBytes: Int) {
        try attempt { () throws(LMDBError) in
            let table = try environment.statistics(of: entries)
            return (table.entries, table.depth, try environment.statistics().usedBytes)
        }
    }

    /// Closes the file; look-ups fail from here on.
    func close() { environment.close() }
}

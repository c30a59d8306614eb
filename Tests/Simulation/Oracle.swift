import Model
import NIOCore
import Platform

/// What a write stores; distinct for every write of a run.
struct Version: Equatable, Sendable {
    let seed: UInt64
    let size: Int
    let name: String?
    let pairs: String?

    /// Bytes that no other version has.
    var bytes: [UInt8] {
        var generator = SeededGenerator(seed: seed)
        var bytes: [UInt8] = []
        bytes.reserveCapacity(size + 8)
        while bytes.count < size {
            let word = generator.next()
            unsafe withUnsafeBytes(of: word) { unsafe bytes.append(contentsOf: $0) }
        }
        bytes.removeLast(bytes.count - size)
        return bytes
    }
}

/// What a read gave.
struct Observed: Equatable {
    let bytes: [UInt8]
    let name: String?
    let pairs: String?

    init(bytes: [UInt8], name: String?, pairs: String?) {
        self.bytes = bytes
        self.name = name
        self.pairs = pairs
    }

    init(_ version: Version) {
        bytes = version.bytes
        // an empty file keeps no fields
        name = version.size > 0 ? version.name : nil
        pairs = version.size > 0 ? version.pairs : nil
    }
}

/// An invariant that did not hold.
struct Violation: Error, CustomStringConvertible {
    let description: String

    init(_ description: String) { self.description = description }
}

/// A plain dictionary of what must be readable, and of what may be.
struct Oracle {
    struct Key {
        /// Survives a power cut for sure; `nil` is "no such needle".
        var settled: Version?
        /// What a read gives now.
        var visible: Version?
        /// Outcomes since then that a cut may leave or take.
        var possible: [Version?] = []
    }

    private(set) var keys: [NeedleKey: Key] = [:]
    /// Needles whose record was damaged; nothing is known of them any more.
    private(set) var rotten: Set<NeedleKey> = []

    var names: [NeedleKey] { keys.keys.sorted() }

    func visible(_ key: NeedleKey) -> Version? { keys[key]?.visible }

    mutating func forget(_ key: NeedleKey) {
        keys[key] = nil
        rotten.insert(key)
    }

    /// An answered operation; `settles` when the answer promises that it is on disk.
    mutating func acknowledge(_ key: NeedleKey, _ version: Version?, settles: Bool) {
        keys[key, default: Key()].visible = version
        if settles {
            settleAll()
        } else {
            keys[key, default: Key()].possible.append(version)
        }
    }

    /// An operation of which nobody knows whether it happened.
    mutating func leaveOpen(_ key: NeedleKey, _ version: Version?) {
        keys[key, default: Key()].possible.append(version)
    }

    /// Everything visible is on disk from here on.
    mutating func settleAll() {
        for (key, known) in keys {
            keys[key] = Key(settled: known.visible, visible: known.visible)
        }
    }

    /// What was seen after a power cut must be allowed; it is settled from here on.
    mutating func reconcile(
        _ key: NeedleKey, _ found: Observed?, _ coverage: inout Coverage
    ) throws(Violation) {
        guard let known = keys[key] else {
            if found != nil { throw Violation("needle \(key) was never written") }
            return
        }
        let allowed = [known.settled] + known.possible
        guard let match = allowed.last(where: { $0.map { Observed($0) } == found }) else {
            let old = known.settled.map { "\($0.size) bytes of version \($0.seed)" } ?? "nothing"
            let new =
                found.map { "\($0.bytes.count) bytes, name \($0.name ?? "none")" } ?? "nothing"
            throw Violation(
                "needle \(key): acknowledged was \(old), possible \(known.possible.count) others, "
                    + "found \(new)")
        }
        if !known.possible.isEmpty {
            if match == known.settled {
                coverage.lostUnacknowledged += 1
            } else {
                coverage.survivedUnacknowledged += 1
            }
        }
        keys[key] = Key(settled: match, visible: match)
    }
}

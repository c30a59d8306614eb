import Glibc
import Model
import NIOCore
import Platform
import Synchronization

@testable import Needles

extension World {
    /// Opens the volume after a cut, a kill or a stop, and checks every invariant.
    func recover(afterCut: Bool) throws {
        if mutant == .cutAtFirstDamage { cutAtFirstDamage() }
        var rounds = 0
        while true {
            // sometimes the power goes again while the volume is being opened
            let isCutAgain = afterCut && rounds < 2 && chance(12)
            arm(cutAfter: isCutAgain ? pick(1...4) : nil)
            do {
                try during(.recovery) { try openVolume() }
                if disk.isCut { throw DiskError(call: "open", path: "", code: ENXIO) }
                break
            } catch {
                guard disk.isCut else { throw Violation("the volume does not open: \(error)") }
                coverage.cutsInRecovery += 1
                powerCut()
                rounds += 1
            }
        }
        disk.cut(after: nil)
        coverage.recoveries += 1
        guard let volume = open else { throw Violation("no volume") }
        if World.isTelling { tellRecords() }
        if let reason = volume.info.readOnlyReason, !coverage.wasRebuilt {
            throw Violation("read only after a recovery: \(reason)")
        }
        try checkEverything(afterCut: afterCut)
        // damage that only a rebuild finds makes it read-only until the next opening
        if chance(25) || volume.info.isReadOnly { try checkSecondRecovery() }
        if chance(25) { try checkRebuild() }
    }

    private func openVolume() throws {
        let (volume, report) = try Volume.open(
            paths: paths(), environment: environment(disk), diskID: 0, diskType: "")
        open = volume
        tell("opened: \(report)")
        coverage.damagesReported += report.damages.count
        coverage.wasRebuilt = report.notes.contains("index built from the data file")
        if coverage.wasRebuilt { coverage.rebuilds += 1 }
        if report.notes.contains(where: { $0.contains("behind the last whole needle") }) {
            coverage.tailsCut += 1
        }
    }

    private func tellRecords() {
        guard let file = try? disk.open(paths().data, .read), let length = try? file.length(),
            let data = try? DataFile(volume: 1, opening: file)
        else { return }
        var scanner = RecordScanner(data, from: data.superBlock.firstRecord, to: length)
        while let step = try? scanner.next() {
            tell("  \(step)")
            guard case .record = step else { return }
        }
    }

    func observe(_ key: NeedleKey) throws -> Observed? {
        guard let volume = open else { throw Violation("no volume") }
        do {
            guard let needle = try volume.read(key, cookie: World.cookie(key)) else { return nil }
            return try needle.observed()
        } catch {
            if disk.isCut { throw error }
            throw Violation("needle \(key) cannot be read: \(error)")
        }
    }

    static func cookie(_ key: NeedleKey) -> UInt32 {
        UInt32(truncatingIfNeeded: key &* 0x9e37_79b1) | 1
    }

    /// Every key is what it may be, and there is no other.
    func checkEverything(afterCut: Bool) throws {
        guard let volume = open else { throw Violation("no volume") }
        for key in oracle.names {
            let found = try observe(key)
            if afterCut {
                try oracle.reconcile(key, found, &coverage)
            } else if oracle.visible(key).map({ Observed($0) }) != found {
                throw Violation("needle \(key) is not what was acknowledged")
            }
        }
        let live = try volume.liveSet(without: oracle.rotten)
        for key in live.keys where oracle.visible(key) == nil {
            let place = try volume.locate(key)
            let header = try place.flatMap { try $0.0.data.header(at: $0.1.offset) }
            throw Violation(
                "needle \(key) is live, but was deleted or never written: at offset "
                    + "\(place?.1.offset ?? 0), cookie \(header?.cookie ?? 0), expected \(World.cookie(key))"
            )
        }
    }

    /// Opening again without a change changes nothing.
    private func checkSecondRecovery() throws {
        guard let volume = open else { throw Violation("no volume") }
        let live = try volume.liveSet(without: oracle.rotten)
        var info = volume.info
        info.readOnlyReason = nil
        let bytes = disk.content(paths().data)
        kill()
        try during(.recovery) { try openVolume() }
        guard let again = open else { throw Violation("no volume") }
        guard disk.content(paths().data) == bytes else {
            throw Violation("the second recovery changed the data file")
        }
        guard try again.liveSet(without: oracle.rotten) == live else {
            throw Violation("the second recovery found other needles")
        }
        guard again.info == info else {
            throw Violation("the second recovery counts differently: \(info), then \(again.info)")
        }
    }

    /// The data file alone says the same as the index.
    func checkRebuild() throws {
        guard let volume = open else { throw Violation("no volume") }
        let live = try volume.liveSet(without: oracle.rotten)
        let directory = indexDirectory + "-rebuilt"
        try World.makeDirectory(directory)
        defer { World.removeTree(directory) }
        let (rebuilt, _) = try during(.recovery) {
            try Volume.open(
                paths: paths(index: directory), environment: environment(disk), diskID: 0,
                diskType: "")
        }
        let found = try rebuilt.liveSet(without: oracle.rotten)
        var rebuiltEntries: [NeedleKey: IndexEntry] = [:]
        for key in oracle.names { rebuiltEntries[key] = try rebuilt.locate(key)?.1 }
        rebuilt.state.withLock { $0.generation }.index.close()
        guard found == live else {
            let keys = Set(found.keys).union(live.keys).filter { found[$0] != live[$0] }.sorted()
            for key in keys {
                try tell(
                    "\(key): \(try volume.locate(key).map { "\($0.1)" } ?? "none"), rebuilt "
                        + "\(rebuiltEntries[key].map { "\($0)" } ?? "none")")
            }
            throw Violation("an index rebuilt from the data file differs in needles \(keys)")
        }
    }

    /// The planted bug of the same name.
    private func cutAtFirstDamage() {
        guard let file = try? disk.open(paths().data, .readWrite), let length = try? file.length(),
            let data = try? DataFile(volume: 1, opening: file)
        else { return }
        var scanner = RecordScanner(
            data, from: data.superBlock.firstRecord, to: length, rejectsBrokenSeals: true)
        while let step = try? scanner.next() {
            if case .record = step { continue }
            if case .damage = step {
                try? file.truncate(to: scanner.position)
                try? file.sync()
            }
            return
        }
    }
}

extension StoredNeedle {
    func observed() throws -> Observed {
        let bytes: [UInt8]
        switch body {
        case .bytes(let buffer): bytes = Array(buffer.readableBytesView)
        case .file(let file):
            bytes = Array(try file.read(at: 0, count: Int(file.length)).readableBytesView)
        }
        return Observed(
            bytes: bytes, name: name.map { String(buffer: $0) },
            pairs: pairs.map { String(buffer: $0) })
    }
}

extension Volume {
    /// Everything live, by walking index and recent needles.
    func liveSet(without rotten: Set<NeedleKey>) throws -> [NeedleKey: Observed] {
        let (generation, sealed, recent) = state.withLock {
            ($0.generation, $0.sealed ?? [:], $0.recent)
        }
        var entries: [NeedleKey: IndexEntry] = [:]
        try generation.index.forEach { key, entry in entries[key] = entry }
        entries.merge(sealed) { _, new in new }
        entries.merge(recent) { _, new in new }
        var live: [NeedleKey: Observed] = [:]
        for (key, entry) in entries where !entry.isDeleted && !rotten.contains(key) {
            live[key] = try generation.data.read(key, entry).observed()
        }
        return live
    }
}

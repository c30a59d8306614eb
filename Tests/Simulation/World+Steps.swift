import Glibc
import Model
import NIOCore
import Platform
import Synchronization

@testable import Needles

extension World {
    /// One operation of a batch.
    enum Step: Sendable {
        case write(NeedleKey, Version, spooled: Bool, forced: Bool)
        case delete(NeedleKey)

        var key: NeedleKey {
            switch self {
            case .write(let key, _, _, _): key
            case .delete(let key): key
            }
        }

        var isSpooled: Bool {
            if case .write(_, _, spooled: true, _) = self { true } else { false }
        }

        var text: String { outcome.map { "\($0.size) bytes of \($0.seed)" } ?? "delete" }

        /// What the needle is afterwards.
        var outcome: Version? {
            if case .write(_, let version, _, _) = self { version } else { nil }
        }
    }

    static func makeDirectory(_ path: String) throws {
        guard unsafe mkdir(path, 0o755) == 0 else { throw Violation("mkdir \(path): \(errno)") }
    }

    /// A whole run: cycles of work and crash, each followed by a recovery and its checks.
    func run() throws {
        coverage.seeds = 1
        arm(cutAfter: nil)
        open = try Volume.create(
            paths: paths(), environment: environment(disk), diskID: 0, diskType: "",
            replication: .single, ttl: .none, preallocate: 0)
        for _ in 0..<pick(2...5) {
            arm(cutAfter: chance(80) ? pick(1...90) : nil)
            do {
                for _ in 0..<pick(4...24) { try step() }
            } catch let violation as Violation {
                throw violation
            } catch is DiskFailed {
                powerCut()
                try recover(afterCut: true)
                continue
            } catch {
                guard disk.isCut else { throw Violation("unexpected error: \(error)") }
            }
            try stop()
        }
        trace = trace &* 31 &+ disk.trace
    }

    /// Ends a cycle: power cut, kill or clean stop; then recovers.
    private func stop() throws {
        shadowIndexes()
        if hasRunway { coverage.stopsOnRunway += 1 }
        if !disk.isCut, chance(mutant == .cutAtFirstDamage ? 100 : 4) { try rot() }
        if disk.isCut, chance(25) {
            phase.value = .idle
            killInOperation()
            try recover(afterCut: true)
        } else if disk.isCut || chance(50) {
            tell("power cut in \(phase.value) at \(disk.state.withLock { $0.lastOperation })")
            notePhase()
            powerCut()
            try recover(afterCut: true)
        } else if chance(60) {
            disk.cut(after: nil)
            kill()
            if chance(15) { removeIndexes() }
            try recover(afterCut: false)
        } else {
            disk.cut(after: nil)
            open?.close()
            oracle.settleAll()
            open = nil
            coverage.cleanStops += 1
            if chance(50) {
                powerCut()
                try recover(afterCut: true)
            } else {
                try recover(afterCut: false)
            }
        }
    }

    private var hasRunway: Bool {
        open?.state.withLock { $0.generation.data.runway.isLaid } ?? false
    }

    private func notePhase() {
        switch phase.value {
        case .checkpoint: coverage.cutsInCheckpoint += 1
        case .compaction: coverage.cutsInCompaction += 1
        case .switching: coverage.cutsInSwitch += 1
        default: break
        }
        phase.value = .idle
    }

    private func step() throws {
        guard let volume = open else { throw Violation("no volume") }
        if chance(30) { shadowIndexes() }
        switch pick(0...99) {
        case 0..<72: try batch()
        case 72..<82:
            try inPhase(.checkpoint) { try volume.checkpoint() }
            coverage.checkpoints += 1
            oracle.settleAll()
        case 82..<90: try compaction()
        case 90..<92:
            try volume.repairIndex("the simulation asks for it")
        case 92: try failSync()
        case 95 where hasRunway:
            volume.giveBackRunway()
            coverage.runwaysGivenBack += 1
        case 93..<95:
            guard mode != .always else { return try batch() }
            try volume.syncIfDirty()
            oracle.settleAll()
        default:
            for key in oracle.names where chance(30) {
                if try oracle.visible(key).map({ Observed($0) }) != observe(key) {
                    throw Violation("needle \(key) is not what was acknowledged")
                }
            }
        }
    }

    /// Runs with the phase set; it stays set when the power was cut.
    private func inPhase(_ phase: Phase, _ body: () throws -> Void) throws {
        self.phase.value = phase
        do {
            try body()
        } catch {
            if !disk.isCut { self.phase.value = .idle }
            throw error
        }
        self.phase.value = .idle
    }

    private func compaction() throws {
        guard let volume = open else { throw Violation("no volume") }
        try inPhase(.compaction) { try volume.compact() }
        for _ in 0..<pick(0...3) { try batch() }
        if chance(15) {
            volume.discardCompaction()
            coverage.compactionsDiscarded += 1
            return
        }
        try inPhase(.switching) { try volume.commitCompaction() }
        coverage.compactions += 1
        oracle.settleAll()
        try checkEverything(afterCut: false)
    }

    /// The disk refuses a sync: nothing of the batch is acknowledged, and nothing more is taken
    /// until the power was cut; nobody knows what reached the disk.
    private func failSync() throws {
        guard let volume = open, mode == .always else { return }
        disk.state.withLock { $0.failNextSync = EIO }
        let step = Step.write(NeedleKey(pick(1...11)), version(), spooled: false, forced: false)
        guard !oracle.rotten.contains(step.key) else {
            disk.state.withLock { $0.failNextSync = nil }
            return
        }
        let answers = try during(.batch) { try submit([step], to: volume) }
        let failed = disk.state.withLock { $0.failNextSync == nil }
        disk.state.withLock { $0.failNextSync = nil }
        try settle([step], answers, isFull: true)
        if disk.isCut { throw DiskError(call: "batch", path: "", code: ENXIO) }
        guard failed, case .failure? = answers[0] else { return }
        coverage.failedSyncs += 1
        for key in NeedleKey(1)...3 {
            let later = [Step.write(key, version(), spooled: false, forced: true), .delete(key)]
            for answer in try submit(later, to: volume) {
                guard case .failure = answer else {
                    throw Violation("a change was taken after a failed sync")
                }
            }
        }
        throw DiskFailed()
    }

    /// Ends a cycle with a power cut.
    private struct DiskFailed: Error {}

    private func version() -> Version {
        let sizes = [0, 0, 1, 7, 30, 100, 200, 500, 700, 1500, 3000]
        var size = sizes.randomElement(using: &generator) ?? 0
        if size > 7 { size += pick(0...9) }
        let letters = chance(20) ? pick(200...254) : pick(1...9)
        return Version(
            seed: generator.next(), size: size,
            name: chance(50) ? String(repeating: "n", count: letters) + "\(pick(0...9))" : nil,
            pairs: chance(10) ? "{\"A\":\"\(String(repeating: "v", count: pick(1...1300)))\"}" : nil
        )
    }

    /// Some operations that the engine takes as one batch.
    private func batch() throws {
        guard let volume = open else { throw Violation("no volume") }
        var steps: [Step] = []
        let onlyDeletes = chance(15)
        for _ in 0..<pick(1...5) {
            // few keys, some of them beyond 32 bits
            var key = NeedleKey(pick(1...14))
            if key > 11 { key |= 1 << 40 }
            if oracle.rotten.contains(key) { continue }
            if onlyDeletes || chance(22) {
                steps.append(.delete(key))
            } else {
                steps.append(
                    .write(
                        key, version(), spooled: chance(10), forced: mode != .always && chance(15)))
            }
        }
        if steps.isEmpty { return }
        let isFull = chance(2) && !steps.contains { $0.isSpooled }
        if isFull {
            disk.state.withLock { $0.failNextWrite = ENOSPC }
            coverage.fullDisks += 1
        }
        let answers = try during(onlyDeletes ? .deletes : .batch) { try submit(steps, to: volume) }
        disk.state.withLock { $0.failNextWrite = nil }
        try settle(steps, answers, isFull: isFull)
        if disk.isCut { throw DiskError(call: "batch", path: "", code: ENXIO) }
    }

    private func submit(
        _ steps: [Step], to volume: Volume
    ) throws -> [Result<Void, NeedleError>?] {
        var bodies: [NeedleContent?] = []
        for step in steps {
            guard case .write(_, let version, let spooled, _) = step else {
                bodies.append(nil)
                continue
            }
            var content: NeedleContent
            if spooled {
                let spool = try volume.makeSpool()
                try spool.append(ByteBuffer(bytes: version.bytes))
                content = NeedleContent(body: .spool(spool))
            } else {
                content = NeedleContent(body: .bytes(ByteBuffer(bytes: version.bytes)))
            }
            content.name = version.name
            content.pairs = version.pairs
            bodies.append(content)
        }
        let answers = Shared([Result<Void, NeedleError>?](repeating: nil, count: steps.count))
        let contents = bodies
        // what is queued during one piece of exclusive work is the next batch, as a whole
        volume.enqueue(
            .exclusive {
                for (index, step) in steps.enumerated() {
                    switch step {
                    case .write(let key, _, _, let forced):
                        guard let content = contents[index] else { continue }
                        volume.write(
                            key, cookie: World.cookie(key), content, forceSync: forced
                        ) { result in answers.change { $0[index] = result.map { _ in } } }
                    case .delete(let key):
                        volume.delete(key, cookie: World.cookie(key)) { result in
                            answers.change { $0[index] = result.map { _ in } }
                        }
                    }
                }
            })
        return answers.value
    }

    private func settle(
        _ steps: [Step], _ answers: [Result<Void, NeedleError>?], isFull: Bool
    ) throws {
        var settles = mode == .always
        for (step, answer) in zip(steps, answers) {
            if case .write(_, _, _, forced: true) = step, case .success? = answer { settles = true }
        }
        for (step, answer) in zip(steps, answers) {
            count(step)
            tell("\(step.key): \(step.text) -> \(answer.map { "\($0)" } ?? "no answer")")
            switch answer {
            case .success?:
                coverage.acknowledged += 1
                if case .delete = step, oracle.visible(step.key) == nil {
                    throw Violation("the delete of needle \(step.key) succeeded, there was none")
                }
                oracle.acknowledge(step.key, step.outcome, settles: false)
            case .failure(.notFound)?:
                if oracle.visible(step.key) != nil, !disk.isCut, !isFull {
                    throw Violation("needle \(step.key) was there and not found")
                }
            case .failure(let error)?:
                guard disk.isCut || isFull else {
                    throw Violation("needle \(step.key) was refused: \(error)")
                }
                coverage.inFlightAtCut += 1
                oracle.leaveOpen(step.key, step.outcome)
            case nil:
                throw Violation("an operation on needle \(step.key) was not answered")
            }
        }
        if settles, answers.contains(where: { if case .success? = $0 { true } else { false } }) {
            oracle.settleAll()
        }
    }

    private func count(_ step: Step) {
        switch step {
        case .delete: coverage.deletes += 1
        case .write(_, let version, let spooled, _):
            coverage.writes += 1
            if spooled { coverage.spools += 1 }
            if version.size == 0 { coverage.emptyFiles += 1 }
        }
    }
}

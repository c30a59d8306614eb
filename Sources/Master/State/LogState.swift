import Platform
import RaftLog

/// The master's log and state in `<mdir>/raft/`, as a lone master keeps them.
///
/// Everything that blocks runs on one thread of its own.
final class LogState: DurableState {
    /// The type of a log entry that is a ``MasterCommand``.
    static let commandType: UInt8 = 1
    /// Entries that may pile up beyond those that are always kept.
    static let compactionInterval: UInt64 = 4096

    private let log: RaftLog
    /// The thread.
    let lane = WorkerPool(name: "master-log", count: 1)

    init(_ log: RaftLog) { self.log = log }

    func recover() async throws -> KeptState {
        try await run { [log] in
            let applied = try log.state
            let last = try log.last.index
            var kept = KeptState(index: applied?.appliedIndex ?? 0, state: applied?.blob)
            let commit = min(try log.hardState.commit, last)
            var next = kept.index + 1
            while next <= commit {
                let entries = try log.entries(from: next).prefix { $0.index <= commit }
                for entry in entries {
                    guard entry.type == LogState.commandType else {
                        throw MasterCodingError.unknownEntry(type: entry.type, index: entry.index)
                    }
                    kept.entries.append(entry.payload)
                }
                next += UInt64(entries.count)
                if entries.isEmpty { break }
            }
            return kept
        }
    }

    func commit(entries: [[UInt8]], index: UInt64, state: [UInt8]) async throws {
        try await run { [log] in
            var hardState = try log.hardState
            hardState.term = max(hardState.term, 1)
            if hardState.vote == 0 { hardState.vote = log.nodeID }
            hardState.commit = index
            let first = index - UInt64(entries.count) + 1
            try log.persist(
                PersistBatch(
                    entries: entries.enumerated().map {
                        Entry(
                            index: first + UInt64($0.offset), term: hardState.term,
                            type: LogState.commandType, payload: $0.element)
                    }, hardState: hardState, state: AppliedState(appliedIndex: index, blob: state)))
            if index / LogState.compactionInterval != (first - 1) / LogState.compactionInterval {
                try log.compact(upTo: index)
            }
        }
    }

    /// Ends the thread and gives the directory free.
    ///
    /// Blocks until what is queued is done.
    func close() {
        lane.shutdown()
        log.close()
    }

    private func run<T: Sendable>(_ body: @escaping @Sendable () throws -> T) async throws -> T {
        try await withCheckedThrowingContinuation { continuation in
            lane.submit { continuation.resume(with: Result { try body() }) }
        }
    }
}

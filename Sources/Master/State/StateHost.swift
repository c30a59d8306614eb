import Synchronization

/// What a master's last run kept.
struct KeptState: Sendable {
    /// The last entry that is part of `state`.
    var index: UInt64 = 0
    /// ``MasterState/encoded``; `nil` on the first start.
    var state: [UInt8]?
    /// Committed entries after `index`.
    var entries: [[UInt8]] = []
}

/// Where the replicated state is kept between starts.
protocol DurableState: Sendable {
    /// What the commits that returned kept.
    ///
    /// An unfinished commit is either whole or absent.
    func recover() async throws -> KeptState
    /// Keeps entries `index - entries.count + 1 ...
    ///
    /// index` and the state after them, durably and in one step.
    func commit(entries: [[UInt8]], index: UInt64, state: [UInt8]) async throws
}

/// Takes commands to the cluster's log and answers with what they did once that is durable.
protocol Proposer: Sendable {
    /// Proposes a command.
    ///
    /// Throws when it is not known to be durable; it may still take effect.
    func propose(_ command: MasterCommand) async throws(ProposalError) -> MasterResult
}

/// Why a command was not carried out.
enum ProposalError: Error, Sendable, Hashable, CustomStringConvertible {
    /// Too many commands wait.
    case overloaded(limit: Int)
    /// The state could not be kept; nothing more is accepted until the master starts again.
    case storage(String)

    var description: String {
        switch self {
        case .overloaded(let limit):
            "\(limit) commands already wait for the master's log: try again"
        case .storage(let reason):
            "the master's log cannot be written (\(reason)): nothing is assigned until the cause "
                + "is removed and the master restarted"
        }
    }
}

/// The log of a master that is alone: what is durable here is committed.
///
/// Commands that arrive during one commit share the next one. After a failed commit nothing is
/// accepted: what is on disk is unknown, and the state in memory must not run ahead of it.
final class SingleNodeHost: Proposer {
    /// Commands in one commit.
    static let batchLimit = 128
    /// Commands that may wait.
    static let queueLimit = 4096

    private struct Waiting {
        let command: MasterCommand
        let continuation: CheckedContinuation<Result<MasterResult, ProposalError>, Never>
    }

    private struct Shared {
        var state: MasterState
        var index: UInt64
        var queue: [Waiting] = []
        var isCommitting = false
        var failure: ProposalError?
    }

    private let durable: any DurableState
    private let shared: Mutex<Shared>

    /// Reads what the last run kept.
    init(recovering durable: any DurableState) async throws {
        self.durable = durable
        let kept = try await durable.recover()
        var state = try kept.state.map(MasterState.init(decoding:)) ?? MasterState()
        for entry in kept.entries { _ = state.apply(try MasterCommand(decoding: entry)) }
        shared = Mutex(Shared(state: state, index: kept.index + UInt64(kept.entries.count)))
    }

    /// The state as of the last durable command.
    var state: MasterState { shared.withLock { $0.state } }

    /// How many commands were applied since the cluster was made.
    var appliedIndex: UInt64 { shared.withLock { $0.index } }

    func propose(_ command: MasterCommand) async throws(ProposalError) -> MasterResult {
        let result = await withCheckedContinuation { continuation in
            enqueue(Waiting(command: command, continuation: continuation))
        }
        return try result.get()
    }

    private func enqueue(_ waiting: Waiting) {
        let (refusal, starts) = shared.withLock { shared -> (ProposalError?, Bool) in
            if let failure = shared.failure { return (failure, false) }
            guard shared.queue.count < SingleNodeHost.queueLimit else {
                return (.overloaded(limit: SingleNodeHost.queueLimit), false)
            }
            shared.queue.append(waiting)
            defer { shared.isCommitting = true }
            return (nil, !shared.isCommitting)
        }
        if let refusal { waiting.continuation.resume(returning: .failure(refusal)) }
        if starts { Task { await commitQueued() } }
    }

    private func commitQueued() async {
        while let batch = nextBatch() {
            let (before, index) = shared.withLock { ($0.state, $0.index) }
            var state = before
            var results: [MasterResult] = []
            for waiting in batch { results.append(state.apply(waiting.command)) }
            do {
                // A batch that changes nothing needs no commit: its answers follow from what is
                // durable already.
                let last = index + UInt64(batch.count)
                if state != before {
                    try await durable.commit(
                        entries: batch.map(\.command.encoded), index: last, state: state.encoded)
                    shared.withLock {
                        $0.state = state
                        $0.index = last
                    }
                }
                for (waiting, result) in zip(batch, results) {
                    waiting.continuation.resume(returning: .success(result))
                }
            } catch {
                fail(batch, .storage("\(error)"))
            }
        }
    }

    private func nextBatch() -> [Waiting]? {
        shared.withLock { shared in
            guard !shared.queue.isEmpty else {
                shared.isCommitting = false
                return nil
            }
            let batch = Array(shared.queue.prefix(SingleNodeHost.batchLimit))
            shared.queue.removeFirst(batch.count)
            return batch
        }
    }

    private func fail(_ batch: [Waiting], _ error: ProposalError) {
        let rest = shared.withLock { shared in
            shared.failure = error
            defer { shared.queue = [] }
            return shared.queue
        }
        for waiting in batch + rest { waiting.continuation.resume(returning: .failure(error)) }
    }
}

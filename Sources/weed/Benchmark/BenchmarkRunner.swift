import Dispatch
import Histogram
import NIOCore
import Synchronization

/// What one phase measured.
struct PhaseResult: Sendable {
    /// What it did.
    var kind: PhaseKind
    /// Requests made.
    var completed: Int
    /// Of those, how many failed.
    var failed: Int
    /// How long it took.
    var seconds: Double
    /// What the connections measured.
    var measured: WorkerResult

    /// Files written.
    var files: [UploadedFile] { measured.files }
}

/// Runs the phases of a benchmark, one after the other.
struct BenchmarkRunner {
    /// What the requests have in common.
    let plan: BenchmarkPlan
    /// The client's event loops.
    let group: any EventLoopGroup
    /// How many connections.
    let concurrency: Int

    /// Makes sure that the master answers at all, so that the mistake is told once and not a million times.
    func checkMaster() throws(CommandFailure) {
        let loop = group.next()
        let promise = loop.makePromise(of: Int.self)
        let plan = plan
        loop.execute {
            let lane = Lane(plan: plan, loop: loop)
            lane.send(to: plan.master, Requests.get("/cluster/status", plan.master)) { answer in
                promise.completeWith(answer.map(\.status).mapError { $0 as any Error })
                lane.close()
            }
        }
        do {
            _ = try promise.futureResult.wait()
        } catch {
            throw CommandFailure(
                "the master at \(plan.master.authority) does not answer: \(error); start one with "
                    + "`weed server -ip=127.0.0.1` or name another with -master=<host:port>")
        }
    }

    /// Runs one phase; returns when its last request was answered.
    func run(
        _ kind: PhaseKind, total: Int, files: [UploadedFile]
    ) throws(CommandFailure) -> PhaseResult {
        let progress = PhaseProgress(total: total)
        let began = ContinuousClock.now
        let loops = Array(group.makeIterator())
        let futures = loops.enumerated().map { index, loop -> EventLoopFuture<WorkerResult> in
            let workers = concurrency / loops.count + (index < concurrency % loops.count ? 1 : 0)
            let promise = loop.makePromise(of: WorkerResult.self)
            guard workers > 0 else {
                promise.succeed(WorkerResult())
                return promise.futureResult
            }
            let plan = plan
            loop.execute {
                BenchmarkWorkers(
                    plan: plan, kind: kind, progress: progress, files: files, loop: loop,
                    promise: promise
                ).run(workers)
            }
            return promise.futureResult
        }
        let all = EventLoopFuture.whenAllSucceed(futures, on: group.next())
        ProgressLine(kind, progress).show(until: all)
        let parts: [WorkerResult]
        do {
            parts = try all.wait()
        } catch {
            throw CommandFailure("the benchmark could not go on: \(error)")
        }
        let took = ContinuousClock.now - began
        return try merge(kind, progress, parts, took)
    }

    private func merge(
        _ kind: PhaseKind, _ progress: PhaseProgress, _ parts: [WorkerResult], _ took: Duration
    ) throws(CommandFailure) -> PhaseResult {
        var merged = WorkerResult()
        for part in parts {
            merged.latencies.add(part.latencies)
            merged.bytes += part.bytes
            merged.files += part.files
            merged.messages += part.messages
        }
        for message in merged.messages.prefix(BenchmarkWorkers.messageLimit) {
            Terminal.error("weed: \(kind.rawValue): \(message)")
        }
        guard !progress.wasStopped else {
            throw CommandFailure(
                "\(kind.rawValue) was given up after \(progress.done) of \(progress.total) requests: "
                    + "\(progress.failed) failed")
        }
        var failed = progress.failed
        if kind == .write {
            let twice = merged.files.count - Set(merged.files).count
            if twice > 0 { Terminal.error("weed: write: \(twice) file ids were handed out twice") }
            failed += twice
        }
        return PhaseResult(
            kind: kind, completed: progress.done, failed: failed, seconds: took / .seconds(1),
            measured: merged)
    }
}

/// The line on a terminal that shows how far a phase is.
struct ProgressLine {
    private let kind: PhaseKind
    private let progress: PhaseProgress
    private static let width = 30

    /// A line for a phase.
    init(_ kind: PhaseKind, _ progress: PhaseProgress) {
        self.kind = kind
        self.progress = progress
    }

    /// Draws until `end`; draws nothing when standard error is no terminal.
    func show<Value>(until end: EventLoopFuture<Value>) {
        guard Terminal.errorIsTerminal else { return }
        let done = DispatchSemaphore(value: 0)
        end.whenComplete { _ in done.signal() }
        var before = 0
        var since = ContinuousClock.now
        while done.wait(timeout: .now() + .milliseconds(250)) == .timedOut {
            let now = ContinuousClock.now
            let count = progress.done
            let rate = Double(count - before) / ((now - since) / .seconds(1))
            Terminal.draw("\r" + line(count, rate))
            (before, since) = (count, now)
        }
        Terminal.draw("\r\u{1b}[K")
    }

    private func line(_ count: Int, _ rate: Double) -> String {
        let filled = min(ProgressLine.width, count * ProgressLine.width / max(1, progress.total))
        let bar = String(repeating: "=", count: filled)
        let rest = String(repeating: " ", count: ProgressLine.width - filled)
        let percent = count * 100 / max(1, progress.total)
        let failed = progress.failed > 0 ? ", \(progress.failed) failed" : ""
        return "\(kind.rawValue) [\(bar)\(rest)] \(percent)%  \(Int(rate))/s\(failed)\u{1b}[K"
    }
}

import Histogram
import Model
import NIOCore

/// The connections of one event loop, and what they measured.
///
/// Lives on its event loop.
final class BenchmarkWorkers {
    private let plan: BenchmarkPlan
    private let kind: PhaseKind
    private let progress: PhaseProgress
    private let files: [UploadedFile]
    private let loop: any EventLoop
    private let promise: EventLoopPromise<WorkerResult>
    private var result = WorkerResult()
    private var running = 0
    private var failuresInARow = 0
    private var random: UInt64
    private var locations: [VolumeID: Endpoint] = [:]

    /// After so many failures without one success the phase is given up.
    static let failureLimit = 200
    /// How often an assign is asked for while the master makes volumes, ten times a second.
    static let assignAttempts = 100
    /// How many failures are told in words.
    static let messageLimit = 5

    /// Workers for `kind`; start them with ``run(_:)``.
    init(
        plan: BenchmarkPlan, kind: PhaseKind, progress: PhaseProgress, files: [UploadedFile],
        loop: any EventLoop, promise: EventLoopPromise<WorkerResult>
    ) {
        self.plan = plan
        self.kind = kind
        self.progress = progress
        self.files = files
        self.loop = loop
        self.promise = promise
        random = plan.seed &+ UInt64(truncatingIfNeeded: ObjectIdentifier(loop).hashValue)
    }

    /// Starts `count` workers; the promise is fulfilled when all are done.
    func run(_ count: Int) {
        running = count
        for _ in 0..<count { next(Lane(plan: plan, loop: loop)) }
    }

    private func next(_ lane: Lane) {
        guard let number = progress.take() else {
            lane.close()
            running -= 1
            if running == 0 { promise.succeed(result) }
            return
        }
        let began = NIODeadline.now()
        let done: (Result<Int, BenchmarkError>) -> Void = { [self] outcome in
            record(outcome, since: began)
            next(lane)
        }
        switch kind {
        case .write: write(lane, done)
        case .read: read(files[pick()].id, lane, done)
        case .delete: delete(files[number].id, lane, done)
        }
    }

    private func pick() -> Int {
        let word = Payload.next(&random)
        return Int(truncatingIfNeeded: word.multipliedFullWidth(by: UInt64(files.count)).high)
    }

    private func record(_ outcome: Result<Int, BenchmarkError>, since began: NIODeadline) {
        let microseconds = (NIODeadline.now() - began).nanoseconds / 1000
        switch outcome {
        case .success(let bytes):
            progress.completed(ok: true)
            failuresInARow = 0
            result.bytes += bytes
            result.latencies.record(UInt64(max(1, microseconds)))
        case .failure(let error):
            progress.completed(ok: false)
            failuresInARow += 1
            if result.messages.count < BenchmarkWorkers.messageLimit {
                result.messages.append(error.description)
            }
            if failuresInARow >= BenchmarkWorkers.failureLimit { progress.stop() }
        }
    }

    // MARK: - The three kinds of request

    private func write(
        _ lane: Lane, attempt: Int = 1, _ done: @escaping (Result<Int, BenchmarkError>) -> Void
    ) {
        lane.send(to: plan.master, Requests.get(plan.assignTarget, plan.master)) { [self] answer in
            do throws(BenchmarkError) {
                if try answer.get().status == 503, attempt < BenchmarkWorkers.assignAttempts {
                    return later { self.write(lane, attempt: attempt + 1, done) }
                }
                let (file, endpoint) = try Answers.assigned(answer.get())
                let request = Requests.upload(file, to: endpoint, plan)
                lane.send(to: endpoint, request) { [self] answer in
                    done(
                        Result { () throws(BenchmarkError) -> Int in
                            try Answers.expect([200, 201], answer.get(), "upload of \(file)")
                            result.files.append(UploadedFile(id: file))
                            return plan.size
                        })
                }
            } catch {
                done(.failure(error))
            }
        }
    }

    /// The master says 503 while it makes volumes; that is a wait and no failure.
    private func later(_ body: @escaping () -> Void) {
        let bound = NIOLoopBound(body, eventLoop: loop)
        loop.scheduleTask(in: .milliseconds(100)) { bound.value() }
    }

    private func read(
        _ file: FileID, _ lane: Lane, _ done: @escaping (Result<Int, BenchmarkError>) -> Void
    ) {
        locate(file.volume, lane) { [self] endpoint in
            switch endpoint {
            case .failure(let error): done(.failure(error))
            case .success(let endpoint):
                lane.send(to: endpoint, Requests.get("/\(file)", endpoint)) { [self] answer in
                    done(
                        Result { () throws(BenchmarkError) -> Int in
                            let answer = try answer.get()
                            try Answers.expect([200], answer, "read of \(file)")
                            try check(answer.body, file)
                            return answer.body.readableBytes
                        })
                }
            }
        }
    }

    private func check(_ body: ByteBuffer, _ file: FileID) throws(BenchmarkError) {
        guard
            let offset = Payload.firstDifference(
                in: body, size: plan.size, of: file, seed: plan.seed)
        else { return }
        throw .answer(
            "read of \(file): \(body.readableBytes) bytes differ from the \(plan.size) written, first "
                + "at offset \(offset) (were -size and -seed the same when it was written?)")
    }

    private func delete(
        _ file: FileID, _ lane: Lane, _ done: @escaping (Result<Int, BenchmarkError>) -> Void
    ) {
        locate(file.volume, lane) { endpoint in
            switch endpoint {
            case .failure(let error): done(.failure(error))
            case .success(let endpoint):
                lane.send(to: endpoint, Requests.delete("/\(file)", endpoint)) { answer in
                    do throws(BenchmarkError) {
                        try Answers.expect([202], answer.get(), "delete of \(file)")
                    } catch {
                        return done(.failure(error))
                    }
                    lane.send(to: endpoint, Requests.get("/\(file)", endpoint)) { answer in
                        done(
                            Result { () throws(BenchmarkError) -> Int in
                                try Answers.expect([404], answer.get(), "deleted \(file)")
                                return 0
                            })
                    }
                }
            }
        }
    }

    private func locate(
        _ volume: VolumeID, _ lane: Lane,
        _ found: @escaping (Result<Endpoint, BenchmarkError>) -> Void
    ) {
        if let known = locations[volume] { return found(.success(known)) }
        let request = Requests.get("/dir/lookup?volumeId=\(volume)", plan.master)
        lane.send(to: plan.master, request) { [self] answer in
            found(
                Result { () throws(BenchmarkError) -> Endpoint in
                    let endpoint = try Answers.location(answer.get(), volume)
                    locations[volume] = endpoint
                    return endpoint
                })
        }
    }
}

/// What the connections of one event loop measured.
struct WorkerResult: Sendable {
    /// Microseconds of each request that succeeded.
    var latencies = Histogram<UInt64>(numberOfSignificantValueDigits: .three)
    /// Bytes of files moved.
    var bytes = 0
    /// Files written.
    var files: [UploadedFile] = []
    /// The first failures in words.
    var messages: [String] = []
}

/// What works on one request after the other: a connection to each server it talks to.
final class Lane {
    private var connections: [Endpoint: BenchmarkConnection] = [:]
    private let plan: BenchmarkPlan
    private let loop: any EventLoop

    /// A lane without connections.
    init(plan: BenchmarkPlan, loop: any EventLoop) {
        self.plan = plan
        self.loop = loop
    }

    /// Sends a request, over the connection kept or over a new one.
    func send(
        to endpoint: Endpoint, _ request: ByteBuffer,
        _ completion: @escaping BenchmarkConnection.Completion
    ) {
        if let connection = connections[endpoint], connection.isOpen {
            return connection.send(request, completion)
        }
        let limit = plan.size + (1 << 20)
        BenchmarkConnection.open(to: endpoint, on: loop, bodyLimit: limit) { [self] result in
            switch result {
            case .failure(let error): completion(.failure(error))
            case .success(let connection):
                connections[endpoint] = connection
                connection.send(request, completion)
            }
        }
    }

    /// Closes all connections.
    func close() {
        for connection in connections.values { connection.close() }
        connections = [:]
    }
}

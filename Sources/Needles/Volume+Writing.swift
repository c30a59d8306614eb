public import Model
internal import NIOCore
internal import Platform
internal import Synchronization

extension Volume {
    /// Queues a write.
    ///
    /// `completion` is called exactly once, on a commit thread, when the needle is as durable as
    /// the store's sync mode says (`forceSync`: on disk). It must not block.
    public func write(
        _ key: NeedleKey, cookie: UInt32, _ content: NeedleContent, forceSync: Bool = false,
        completion: @escaping @Sendable (Result<WriteReceipt, NeedleError>) -> Void
    ) {
        let checksum =
            switch content.body {
            case .bytes(let buffer): CRC32C.checksum(buffer.readableBytesSpan)
            case .spool(let spool): spool.checksum
            }
        enqueue(
            .write(
                Operation.Write(
                    key: key, cookie: cookie, content: content, checksum: checksum,
                    forceSync: forceSync, completion: completion)))
    }

    /// Queues a delete.
    ///
    /// `completion` gets the size field S of the deleted record; see
    /// ``write(_:cookie:_:forceSync:completion:)``.
    public func delete(
        _ key: NeedleKey, cookie: UInt32,
        completion: @escaping @Sendable (Result<UInt32, NeedleError>) -> Void
    ) {
        enqueue(.delete(Operation.Delete(key: key, cookie: cookie, completion: completion)))
    }

    /// A spool in this volume's directory.
    ///
    /// Blocks.
    public func makeSpool() throws(NeedleError) -> Spool {
        Spool(
            file: try disk { () throws(DiskError) in
                try environment.disk.openNameless(in: paths.directory)
            })
    }

    func enqueue(_ operation: Operation) {
        let isLight = isLight(operation)
        let (accepted, schedule, isClosed) = queue.withLock { queue in
            guard queue.append(operation, isLight: isLight) else {
                return (false, false, queue.isClosed)
            }
            defer { queue.isScheduled = true }
            return (true, !queue.isScheduled, false)
        }
        guard accepted else { return operation.fail(isClosed ? .closed(id) : .overloaded(id)) }
        guard schedule else { return }
        if isLight {
            runLightCommits()
        } else {
            environment.committers.submit { self.runCommits() }
        }
    }

    /// Whether an operation is no more than a copy into the system's memory: a small new needle that
    /// no sync has to follow.
    ///
    /// The caller's thread does that sooner than it wakes another.
    private func isLight(_ operation: Operation) -> Bool {
        guard environment.sync != .always, case .write(let write) = operation, !write.forceSync,
            case .bytes(let bytes) = write.content.body,
            bytes.readableBytes <= Volume.lightBytes
        else { return false }
        return state.withLock { $0.preparation == nil && write.key > $0.counts.maxKey }
    }

    /// Commits on the caller's thread what is light, for a few rounds; the rest is the commit
    /// threads'.
    private func runLightCommits() {
        for _ in 0..<Volume.lightRounds {
            let operations = queue.withLock { queue -> [Operation]? in
                guard queue.heavyCount == 0 else { return nil }
                let taken = queue.takeAll()
                if taken.isEmpty { queue.isScheduled = false }
                return taken
            }
            guard let operations else { break }
            guard !operations.isEmpty else { return }
            commit(operations[...])
        }
        environment.committers.submit { self.runCommits() }
    }

    /// Runs `body` on the commit thread with no write under way, and waits for it.
    ///
    /// Not from a commit thread.
    func exclusively<R: Sendable>(
        _ body: @escaping @Sendable () throws(NeedleError) -> R
    ) throws(NeedleError) -> R {
        let done = Completion<Result<R, NeedleError>>()
        enqueue(
            .exclusive {
                do throws(NeedleError) {
                    done.complete(.success(try body()))
                } catch {
                    done.complete(.failure(error))
                }
            })
        return try done.wait().get()
    }

    /// Commits batch after batch until nothing waits.
    ///
    /// What arrives during one batch is the next.
    private func runCommits() {
        while true {
            let operations = queue.withLock { queue in
                let taken = queue.takeAll()
                if taken.isEmpty { queue.isScheduled = false }
                return taken
            }
            guard !operations.isEmpty else { return }
            var rest = operations[...]
            while !rest.isEmpty {
                let batch = rest.prefix { if case .exclusive = $0 { false } else { true } }
                if batch.isEmpty, case .exclusive(let body)? = rest.popFirst() {
                    body()
                } else {
                    commit(batch)
                    rest = rest.dropFirst(batch.count)
                }
            }
        }
    }

    private func commit(_ operations: ArraySlice<Operation>) {
        // bounded batches, so that the buffer of one is
        var rest = operations
        while !rest.isEmpty {
            var bytes = 0
            let part = rest.prefix { operation in
                defer { bytes += operation.bytesInMemory }
                return bytes < CommitBatch.bytes
            }
            commitOne(part)
            rest = rest.dropFirst(part.count)
        }
    }

    private func commitOne(_ operations: ArraySlice<Operation>) {
        if let error = refusal() {
            for operation in operations { refuse(operation, error) }
            return
        }
        do throws(NeedleError) {
            try prepareForChange()
        } catch {
            for operation in operations { operation.fail(error) }
            return
        }
        var batch = CommitBatch(volume: self)
        for operation in operations { batch.stage(operation) }
        batch.finish()
        checkpointIfDue()
    }

    /// Why nothing can be written at all; `nil` when something can.
    private func refusal() -> NeedleError? {
        state.withLock { state in
            if state.isClosed { return .closed(id) }
            if let readOnly = state.readOnly, !readOnly.canDelete {
                return .readOnly(id, reason: readOnly.reason)
            }
            let outside = state.recent.count + (state.sealed?.count ?? 0)
            if outside > Volume.maximumRecentEntries { return .overloaded(id) }
            return nil
        }
    }

    private func refuse(_ operation: Operation, _ error: NeedleError) {
        // a delete of nothing is answered as such even when nothing could be deleted
        if case .delete(let delete) = operation, case .readOnly = error,
            let found = try? locate(delete.key), found.1.isDeleted
        {
            return operation.fail(.notFound(id, delete.key))
        }
        operation.fail(error)
    }
}

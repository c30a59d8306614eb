internal import Model
internal import NIOCore

/// Writes and deletes that wait for the commit thread.
struct OperationQueue {
    /// Operations that may wait; more are refused.
    static let maximumCount = 16_384
    /// Bytes in memory that may wait.
    static let maximumBytes = 64 << 20

    var operations: [Operation] = []
    var bytes = 0
    /// Operations among them that may wait for the disk.
    var heavyCount = 0
    /// A commit thread is working on this volume or about to.
    var isScheduled = false
    var isClosed = false

    /// Adds an operation if there is room.
    ///
    /// Exclusive ones always are accepted: the engine makes few of them.
    mutating func append(_ operation: Operation, isLight: Bool) -> Bool {
        if case .exclusive = operation {
            operations.append(operation)
            heavyCount += 1
            return true
        }
        guard !isClosed, operations.count < OperationQueue.maximumCount,
            bytes + operation.bytesInMemory <= OperationQueue.maximumBytes
                || operations.isEmpty
        else { return false }
        bytes += operation.bytesInMemory
        if !isLight { heavyCount += 1 }
        operations.append(operation)
        return true
    }

    /// Takes everything that waits.
    mutating func takeAll() -> [Operation] {
        bytes = 0
        heavyCount = 0
        let taken = operations
        operations = []
        operations.reserveCapacity(min(taken.count, 256))
        return taken
    }
}

/// One thing for the commit thread to do.
enum Operation: Sendable {
    case write(Write)
    case delete(Delete)
    /// Runs with no write under way.
    case exclusive(@Sendable () -> Void)

    /// A class: operations are moved through arrays and batches, and one reference costs less than a
    /// copy of every field.
    final class Write: Sendable {
        let key: NeedleKey
        let cookie: UInt32
        let content: NeedleContent
        let checksum: UInt32
        let forceSync: Bool
        let completion: @Sendable (Result<WriteReceipt, NeedleError>) -> Void

        init(
            key: NeedleKey, cookie: UInt32, content: NeedleContent, checksum: UInt32,
            forceSync: Bool,
            completion: @escaping @Sendable (Result<WriteReceipt, NeedleError>) -> Void
        ) {
            self.key = key
            self.cookie = cookie
            self.content = content
            self.checksum = checksum
            self.forceSync = forceSync
            self.completion = completion
        }
    }

    struct Delete: Sendable {
        let key: NeedleKey
        let cookie: UInt32
        let completion: @Sendable (Result<UInt32, NeedleError>) -> Void
    }

    var bytesInMemory: Int {
        guard case .write(let write) = self, case .bytes(let buffer) = write.content.body else {
            return 64
        }
        return buffer.readableBytes + 256
    }

    /// Answers with an error.
    func fail(_ error: NeedleError) {
        switch self {
        case .write(let write): write.completion(.failure(error))
        case .delete(let delete): delete.completion(.failure(error))
        case .exclusive: preconditionFailure("exclusive work is always accepted")
        }
    }
}

import Foundation
import Glibc
import LMDB
import Synchronization
import Testing

/// A directory of its own for one test, removed with it.
final class TemporaryDirectory: Sendable {
    let path: String

    init() throws {
        path = NSTemporaryDirectory() + "lmdb-\(UUID().uuidString)"
        try FileManager.default.createDirectory(atPath: path, withIntermediateDirectories: true)
    }

    deinit { try? FileManager.default.removeItem(atPath: path) }

    func file(_ name: String = "data.mdb") -> String { path + "/" + name }
}

/// The file's length in bytes.
func length(of path: String) throws -> Int {
    let size = try FileManager.default.attributesOfItem(atPath: path)[.size] as? Int
    return try #require(size)
}

func bytes(of path: String) throws -> [UInt8] {
    [UInt8](try Data(contentsOf: URL(fileURLWithPath: path)))
}

func store(_ bytes: [UInt8], at path: String) throws {
    try Data(bytes).write(to: URL(fileURLWithPath: path))
}

/// The error a call throws.
func failure(_ body: () throws(LMDBError) -> Void) -> LMDBError? {
    do throws(LMDBError) {
        try body()
        return nil
    } catch {
        return error
    }
}

/// Runs bodies on threads of their own and waits for all.
func onThreads(_ count: Int, _ body: @escaping @Sendable (Int) -> Void) {
    let group = DispatchGroup()
    for index in 0..<count {
        group.enter()
        let thread = Thread {
            body(index)
            group.leave()
        }
        thread.stackSize = 1 << 20
        thread.start()
    }
    group.wait()
}

/// A gate one thread opens for others.
final class Latch: Sendable {
    private let semaphore = DispatchSemaphore(value: 0)
    func open() { semaphore.signal() }
    /// False after ten seconds.
    func wait() -> Bool { semaphore.wait(timeout: .now() + 10) == .success }
}

extension WriteTransaction {
    func put(_ value: [UInt8], for key: UInt64, in table: Table) throws(LMDBError) {
        unsafe try put(value.span.bytes, for: key, in: table)
    }

    func put(_ value: [UInt8], for key: [UInt8], in table: Table) throws(LMDBError) {
        unsafe try put(value.span.bytes, for: key.span.bytes, in: table)
    }
}

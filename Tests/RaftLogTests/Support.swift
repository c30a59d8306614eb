import Foundation
import Glibc
import LMDB
import RaftLog
import Testing

/// A master's directory of its own for one test, removed with it.
final class MasterDirectory: Sendable {
    let path: String
    var raft: String { path + "/raft" }
    var data: String { raft + "/data.mdb" }
    var identity: String { raft + "/IDENTITY" }

    init() throws {
        path = NSTemporaryDirectory() + "raftlog-\(UUID().uuidString)"
        try FileManager.default.createDirectory(atPath: path, withIntermediateDirectories: true)
    }

    deinit { try? FileManager.default.removeItem(atPath: path) }

    func bytes(_ path: String) throws -> [UInt8] {
        [UInt8](try Data(contentsOf: URL(fileURLWithPath: path)))
    }

    func store(_ bytes: some Sequence<UInt8>, at path: String) throws {
        try Data(bytes).write(to: URL(fileURLWithPath: path))
    }

    /// Opens the log, lets `body` use it, closes it.
    func withLog<R>(_ body: (RaftLog) throws -> R) throws -> R {
        let log = try open()
        defer { log.close() }
        return try body(log)
    }

    /// Opens the log.
    ///
    /// A process another test is spawning holds copies of this one's descriptors, the lock among
    /// them, until it executes its program: so the lock may outlive its owner by a moment.
    func open() throws(RaftLogError) -> RaftLog {
        for _ in 0..<200 {
            do throws(RaftLogError) {
                return try RaftLog(directory: raft)
            } catch {
                guard case .inUse(_, Int(getpid())) = error else { throw error }
            }
            usleep(1000)
        }
        return try RaftLog(directory: raft)
    }

    /// Changes the records behind the log's back.
    func tamper(
        _ body: (borrowing WriteTransaction, (String) -> Table?) throws(LMDBError) -> Void
    ) throws {
        let environment = try Environment(
            path: data, options: .init(tables: ["meta", "log", "sm", "addr"]))
        defer { environment.close() }
        try environment.write { txn throws(LMDBError) in
            try body(txn) { name in try? environment.table(name) }
        }
    }
}

/// The error a call throws.
func failure(_ body: () throws(RaftLogError) -> Void) -> RaftLogError? {
    do throws(RaftLogError) {
        try body()
        return nil
    } catch {
        return error
    }
}

/// The error opening throws.
func openingFailure(_ directory: MasterDirectory) -> RaftLogError? {
    failure { () throws(RaftLogError) in try directory.open().close() }
}

func entry(_ index: UInt64, term: UInt64 = 1, _ text: String = "x") -> Entry {
    Entry(index: index, term: term, type: 7, payload: Array("\(text) \(index)".utf8))
}

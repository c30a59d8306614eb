import Foundation
import Glibc
import LMDB
import RaftLog
import Testing

@Suite struct StartTests {
    private func lostText(_ name: String, _ cluster: String, _ detail: String) -> String {
        "node \(name) of cluster \(cluster) lost its log (wiped or not mounted?). Not starting a "
            + "new cluster. To rejoin: weed raft reset, then -peers=<a live master> (\(detail))"
    }

    @Test(arguments: [nil, 0, 4096, 9000] as [Int?])
    func `an identity without its log starts nothing`(kept: Int?) throws {
        let directory = try MasterDirectory()
        let id = ClusterID(high: 0x0123_4567_89ab_4def, low: 0x8123_4567_89ab_cdef)
        let name = try directory.withLog { log throws in
            try log.setClusterID(id)
            try log.append([entry(1)])
            return log.nodeName
        }
        let whole = try directory.bytes(directory.data)
        if let kept {
            try directory.store(whole.prefix(kept), at: directory.data)
        } else {
            try FileManager.default.removeItem(atPath: directory.data)
        }
        let before = try FileManager.default.contentsOfDirectory(atPath: directory.raft).sorted()
        let text = try #require(openingFailure(directory)?.description)
        let cluster = "01234567-89ab-4def-8123-456789abcdef"
        if kept ?? 0 == 0 {
            let detail = "\(directory.data) is missing or empty"
            #expect(text == lostText(name, cluster, detail))
        } else {
            #expect(text.hasPrefix("node \(name) of cluster \(cluster) lost its log (wiped or not"))
            #expect(text.contains("found \(kept ?? 0)"))
        }
        #expect(
            try FileManager.default.contentsOfDirectory(atPath: directory.raft).sorted() == before)
        try directory.store(whole, at: directory.data)
        try directory.withLog { log throws in #expect(try log.last.index == 1) }
    }

    @Test func `an identity beside a blank log starts nothing`() throws {
        let directory = try MasterDirectory()
        let name = try directory.withLog { $0.nodeName }
        try FileManager.default.removeItem(atPath: directory.data)
        try Environment(
            path: directory.data, options: .init(tables: ["meta", "log", "sm", "addr"])
        )
        .close()
        #expect(
            openingFailure(directory)?.description
                == lostText(name, "none", "\(directory.data) holds no node"))
    }

    @Test func `a crash before the identity file was written is healed`() throws {
        let directory = try MasterDirectory()
        let id = ClusterID(high: 1, low: 2)
        let node = try directory.withLog { $0.nodeID }
        let early = try directory.bytes(directory.identity)
        try directory.withLog { try $0.setClusterID(id) }
        try directory.store(early, at: directory.identity)
        try directory.withLog { log throws in #expect(log.clusterID == id) }
        let text = String(decoding: try directory.bytes(directory.identity), as: UTF8.self)
        #expect(text.contains("cluster \(id)\n"))
        try FileManager.default.removeItem(atPath: directory.identity)
        try directory.withLog { log throws in #expect(log.nodeID == node) }
        #expect(FileManager.default.fileExists(atPath: directory.identity))
    }

    @Test func `files of two masters are not mixed`() throws {
        let one = try MasterDirectory()
        let two = try MasterDirectory()
        let names = try (one.withLog { $0.nodeName }, two.withLog { $0.nodeName })
        try two.store(one.bytes(one.identity), at: two.identity)
        #expect(
            openingFailure(two)?.description
                == "\(two.raft): IDENTITY says node \(names.0), the log "
                + "says \(names.1): files of two masters were mixed; put back the ones that "
                + "belong together")
    }

    @Test(arguments: ["", "garbage", "node 12\ncluster none\n", "node 0123456789abcdef\n"])
    func `an identity that is no identity stops the start`(text: String) throws {
        let directory = try MasterDirectory()
        try directory.withLog { _ in }
        try directory.store(text.utf8, at: directory.identity)
        guard case .unreadableIdentity(directory.identity, _) = openingFailure(directory) else {
            Issue.record("expected unreadableIdentity for \(text)")
            return
        }
    }

    @Test func `a second opening in this process names it`() throws {
        let directory = try MasterDirectory()
        try directory.withLog { _ in
            #expect(
                openingFailure(directory)?.description
                    == "mdir \(directory.path) is in use by pid \(getpid())")
        }
        #expect(openingFailure(directory) == nil)
    }

    @Test func `a lock held by another process is refused with its pid`() throws {
        let directory = try MasterDirectory()
        try directory.withLog { _ in }
        let holder = Process()
        holder.executableURL = URL(fileURLWithPath: "/bin/sh")
        // Writes its pid as an owner does, says so, and holds the lock until its input ends.
        holder.arguments = ["-c", "exec 9>owner.lock; flock 9; echo $$ >&9; echo held; read x"]
        holder.currentDirectoryURL = URL(fileURLWithPath: directory.raft)
        let (input, output) = (Pipe(), Pipe())
        holder.standardInput = input
        holder.standardOutput = output
        try holder.run()
        #expect(output.fileHandleForReading.availableData == Data("held\n".utf8))
        #expect(
            openingFailure(directory)?.description
                == "mdir \(directory.path) is in use by pid \(holder.processIdentifier)")
        try input.fileHandleForWriting.close()
        holder.waitUntilExit()
        #expect(openingFailure(directory) == nil)
    }

    @Test func `the directory must have a parent`() throws {
        let directory = try MasterDirectory()
        let error = failure { () throws(RaftLogError) in
            _ = try RaftLog(directory: directory.path + "/missing/raft")
        }
        #expect(
            error?.description == "mkdir \(directory.path)/missing/raft: No such file or directory "
                + "(errno 2)")
    }
}

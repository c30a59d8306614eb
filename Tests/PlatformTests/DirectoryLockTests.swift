import Glibc
import Platform
import Testing

@Suite struct DirectoryLockTests {
    private let path = "/tmp/directory-lock-\(getpid())-\(UInt64.random(in: .min ... .max))"

    @Test func oneAtATime() throws {
        defer { unsafe unlink(path) }
        var first: DirectoryLock? = try DirectoryLock(path: path)
        #expect(throws: DirectoryLock.Failure.held(by: Int(getpid()))) {
            try DirectoryLock(path: path)
        }
        withExtendedLifetime(first) {}
        first = nil
        _ = try DirectoryLock(path: path)
    }

    /// Another process holds it: its id is told; when it is killed the lock is free.
    @Test func anotherProcessHoldsIt() throws {
        defer { unsafe unlink(path) }
        let ready = path + ".ready"
        defer { unsafe unlink(ready) }
        let script =
            "echo $$ > '\(path)'; exec 9<>'\(path)'; flock -n 9 && touch '\(ready)'; exec sleep 60"
        let texts: [String] = ["sh", "-c", script]
        var arguments: [UnsafeMutablePointer<CChar>?] = unsafe []
        for text in texts { unsafe arguments.append(strdup(text)) }
        unsafe arguments.append(nil)
        defer { unsafe arguments.forEach { unsafe free($0) } }
        var child: pid_t = 0
        let result = unsafe posix_spawn(&child, "/bin/sh", nil, nil, &arguments, nil)
        #expect(result == 0)
        var rounds = 0
        while unsafe access(ready, F_OK) != 0, rounds < 5000 {
            usleep(1000)
            rounds += 1
        }
        #expect(throws: DirectoryLock.Failure.held(by: Int(child))) {
            try DirectoryLock(path: path)
        }
        kill(child, SIGKILL)
        var status: CInt = 0
        unsafe waitpid(child, &status, 0)
        _ = try DirectoryLock(path: path)
    }

    @Test func aMissingDirectoryIsTold() {
        let missing = "/nowhere/at/all"
        #expect(
            throws: DirectoryLock.Failure.disk(DiskError(call: "open", path: missing, code: ENOENT))
        ) { try DirectoryLock(path: missing) }
    }
}

import Foundation
import Testing

/// The built program as people run it.
@Suite("Command line: the process", .serialized)
struct CommandLineProcessTests {
    /// The program lies beside the test bundle.
    static let program = URL(filePath: "/proc/self/exe").resolvingSymlinksInPath()
        .deletingLastPathComponent().appending(path: "weed")

    private static func directory() throws -> URL {
        let url = FileManager.default.temporaryDirectory
            .appending(path: "weed-process-\(UInt64.random(in: 0 ... .max))")
        try FileManager.default.createDirectory(at: url, withIntermediateDirectories: true)
        return url
    }

    @Test("version prints and succeeds")
    func version() throws {
        let run = try Child(["version"])
        #expect(run.wait() == 0)
        #expect(run.output.hasPrefix("version "))
    }

    @Test("a misspelled flag: a hint on standard error, exit 2")
    func misspelled() throws {
        let run = try Child(["server", "-volume.prot=1"])
        #expect(run.wait() == 2)
        #expect(run.output == "")
        #expect(
            run.errors
                == "weed: unknown flag -volume.prot; did you mean -volume.port?\n"
                + "usage: weed server [flags]      (`weed help server` lists them)\n")
    }

    @Test(
        "a server starts, tells its addresses, takes a file, stops gracefully, has the file again")
    func serve() throws {
        let directory = try Self.directory()
        defer { try? FileManager.default.removeItem(at: directory) }
        let first = try Child.server(directory)
        let master = try #require(first.address("master"))
        let volume = try #require(first.address("volume server"))
        let content = "hello, \(UInt64.random(in: 0 ... .max))"
        let answer = try Child.curl(["-F", "file=\(content);filename=a.txt", "\(master)/submit"])
        let fid = try #require(
            answer.split(separator: "\"").first { $0.contains(",") && $0 != "," })
        #expect(try Child.curl(["\(volume)/\(fid)"]) == content)
        first.signal(SIGTERM)
        #expect(first.wait() == 0)
        #expect(first.errors.contains("weed: stopped; everything answered is on disk"))

        let second = try Child.server(directory)
        let again = try #require(second.address("volume server"))
        #expect(try Child.curl(["\(again)/\(fid)"]) == content)
        second.signal(SIGINT)
        #expect(second.wait() == 0)
    }

    @Test("a directory in use is refused with the pid, exit 78")
    func inUse() throws {
        let directory = try Self.directory()
        defer { try? FileManager.default.removeItem(at: directory) }
        let first = try Child.server(directory)
        let second = try Child(Child.serverArguments(directory))
        #expect(second.wait() == 78)
        #expect(second.errors.contains("in use by pid \(first.pid)"))
        first.signal(SIGTERM)
        #expect(first.wait() == 0)
    }

    @Test("a port in use is named, exit 78")
    func portInUse() throws {
        let directories = [try Self.directory(), try Self.directory()]
        defer { for each in directories { try? FileManager.default.removeItem(at: each) } }
        let first = try Child.server(directories[0])
        let port = try #require(first.address("master")?.split(separator: ":").last)
        let second = try Child(
            Child.serverArguments(directories[1]) + ["-master.port=\(port)"])
        #expect(second.wait() == 78)
        #expect(
            second.errors.contains(
                "weed: cannot listen on 127.0.0.1:\(port): Address already in use; stop what uses it, "
                    + "or choose another with -master.port"))
        first.signal(SIGTERM)
        #expect(first.wait() == 0)
    }

    @Test("a second signal ends a server that waits for a request")
    func secondSignal() throws {
        let directory = try Self.directory()
        defer { try? FileManager.default.removeItem(at: directory) }
        let server = try Child.server(directory)
        let master = try #require(server.address("master"))
        let volume = try #require(server.address("volume server"))
        let assigned = try Child.curl(["\(master)/dir/assign"])
        let fid = try #require(
            assigned.split(separator: "\"").first { $0.contains(",") && $0 != "," })
        // An upload that never ends: the body comes from a pipe nobody writes to.
        let upload = try Child(
            ["-sS", "-T", "-", "\(volume)/\(fid)"], program: "/usr/bin/curl", holdsInput: true)
        defer { upload.signal(SIGKILL) }
        upload.feed("some bytes")
        try server.waitUntil("the upload is under way") { _ in
            try Child.curl(["-s", "\(volume)/healthz", "-o", "/dev/null", "-w", "%{http_code}"])
                == "200"
        }
        server.signal(SIGTERM)
        try server.waitUntil("the stop began") { $0.contains("finishing requests under way") }
        server.signal(SIGTERM)
        #expect(server.wait() == 128 + SIGTERM)
        #expect(server.errors.contains("weed: second signal: ending at once"))
    }
}

/// A child process, its output collected.
final class Child {
    private let process = Process()
    private let outputPath: URL
    private let errorPath: URL
    private let input = Pipe()

    init(_ arguments: [String], program: String? = nil, holdsInput: Bool = false) throws {
        let base = FileManager.default.temporaryDirectory
        let name = "weed-child-\(UInt64.random(in: 0 ... .max))"
        outputPath = base.appending(path: name + ".out")
        errorPath = base.appending(path: name + ".err")
        for path in [outputPath, errorPath] {
            try Data().write(to: path)
        }
        process.executableURL =
            program.map { URL(filePath: $0) } ?? CommandLineProcessTests.program
        process.arguments = arguments
        process.standardOutput = try FileHandle(forWritingTo: outputPath)
        process.standardError = try FileHandle(forWritingTo: errorPath)
        process.standardInput = holdsInput ? input : FileHandle.nullDevice
        try process.run()
    }

    deinit {
        if process.isRunning { kill(process.processIdentifier, SIGKILL) }
        for path in [outputPath, errorPath] { try? FileManager.default.removeItem(at: path) }
    }

    static func serverArguments(_ directory: URL) -> [String] {
        [
            "server", "-dir=\(directory.path)", "-ip=127.0.0.1", "-master.port=0",
            "-volume.port=0",
        ]
    }

    /// A server on free ports; returns when it says that it is ready.
    static func server(_ directory: URL) throws -> Child {
        let child = try Child(serverArguments(directory))
        try child.waitUntil("the server is ready") { $0.contains("try it:") }
        return child
    }

    /// What curl prints for a request; retries while the server makes volumes.
    static func curl(_ arguments: [String]) throws -> String {
        let child = try Child(["-sS", "--retry", "5"] + arguments, program: "/usr/bin/curl")
        let code = child.wait()
        guard code == 0 else { throw ChildError(text: "curl ended with \(code): \(child.errors)") }
        return child.output
    }

    var pid: Int32 { process.processIdentifier }
    var output: String { (try? String(contentsOf: outputPath, encoding: .utf8)) ?? "" }
    var errors: String { (try? String(contentsOf: errorPath, encoding: .utf8)) ?? "" }

    /// The address a start line names.
    func address(_ what: String) -> String? {
        errors.split(separator: "\n").first { $0.hasPrefix("  \(what) ") }
            .flatMap { $0.split(separator: " ").last.map(String.init) }
    }

    func signal(_ number: Int32) { kill(pid, number) }

    func feed(_ text: String) { try? input.fileHandleForWriting.write(contentsOf: Data(text.utf8)) }

    func wait() -> Int32 {
        process.waitUntilExit()
        return process.terminationStatus
    }

    /// Waits for something the process does; 30 s at most.
    func waitUntil(_ what: String, _ isTrue: (String) throws -> Bool) throws {
        let end = Date().addingTimeInterval(30)
        while Date() < end {
            if try isTrue(errors) { return }
            guard process.isRunning else {
                throw ChildError(text: "the process ended before \(what):\n\(errors)")
            }
            usleep(10_000)
        }
        throw ChildError(text: "not within 30 s: \(what); it said:\n\(errors)")
    }
}

/// A child process did not do what was expected of it.
struct ChildError: Error, CustomStringConvertible {
    let text: String
    var description: String { text }
}

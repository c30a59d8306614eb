import FoundationEssentials
import Glibc
import Synchronization

/// Why a server under test could not be used.
public enum ServerProcessError: Error, CustomStringConvertible {
    /// No free pair of ports was found.
    case noFreePort
    /// The program could not be started.
    case cannotStart(program: String, code: Int32)
    /// It ended before it answered.
    case endedEarly(ExitStatus, log: String)
    /// It did not answer in time.
    case notReady(seconds: Int, log: String)

    /// What happened, with the end of the server's own words.
    public var description: String {
        switch self {
        case .noFreePort: "found no free pair of ports below 21000"
        case .cannotStart(let program, let code): "cannot start \(program): errno \(code)"
        case .endedEarly(let status, let log): "the server ended with \(status): \(log)"
        case .notReady(let seconds, let log): "no answer after \(seconds) s: \(log)"
        }
    }
}

/// A `weed server` (master and volume server) of its own process on 127.0.0.1.
///
/// The process ends with this object at the latest.
public final class ServerProcess: Sendable {
    /// Which program runs.
    public enum Program: Sendable, Equatable {
        /// The one under test.
        case ours
        /// The Go original at this path.
        case goOriginal(String)
    }

    /// How to start it.
    public struct Configuration: Sendable {
        /// Where its data is.
        public var directory: String
        /// Which program.
        public var program = Program.ours
        /// The flag `-volume.max`.
        public var maxVolumes = 8
        /// Further flags.
        public var arguments: [String] = []
        /// Added to the environment of this process.
        public var environment: [String: String] = [:]
        /// The longest wait for the first answers.
        public var readySeconds = 60

        /// Defaults for a data directory.
        public init(directory: String) { self.directory = directory }
    }

    /// HTTP port of the master.
    public let masterPort: Int
    /// HTTP port of the volume server.
    public let volumePort: Int
    private let process: ChildProcess
    private let logDirectory: TemporaryDirectory
    private let logFile: String

    /// Starts it and waits until master and volume server answer and know each other.
    public init(_ configuration: Configuration) throws {
        logDirectory = try TemporaryDirectory("weed-log")
        logFile = logDirectory.file("log")
        (masterPort, volumePort) = try FreePorts.pair()
        var arguments = [
            "server", "-dir=\(configuration.directory)", "-ip=127.0.0.1", "-ip.bind=127.0.0.1",
            "-master.port=\(masterPort)", "-volume.port=\(volumePort)",
            "-volume.max=\(configuration.maxVolumes)",
        ]
        let path: String
        switch configuration.program {
        case .ours: path = Repository.weed
        case .goOriginal(let given):
            path = given
            arguments += ["-master.telemetry=false", "-master.peers=none", "-filer=false"]
        }
        var environment = ProcessInfo.processInfo.environment
        environment.merge(configuration.environment) { _, new in new }
        process = try ChildProcess(
            path, arguments + configuration.arguments,
            environment: environment.map { "\($0)=\($1)" }, output: logFile)
        try waitUntilReady(seconds: configuration.readySeconds)
    }

    /// Everything the server wrote to standard output and standard error so far.
    public var log: String {
        String(decoding: Files.read(logFile) ?? [], as: UTF8.self)
    }

    /// The lines that matter most: a crash with its first frames, or the last ones.
    public var logExcerpt: String {
        let lines = log.split(separator: "\n")
        let crash = lines.firstIndex { $0.contains("Fatal error") || $0.contains("crashed:") }
        guard let crash else { return lines.suffix(40).joined(separator: "\n") }
        return lines[crash...].prefix(25).joined(separator: "\n")
    }

    /// Its process id.
    public var pid: Int32 { process.pid }

    /// Asks it to stop (SIGTERM) and waits; `nil` when it did not stop in time and was killed.
    public func stop(seconds: Double = 30) -> ExitStatus? {
        process.send(signal: SIGTERM)
        let status = process.waitForExit(seconds: seconds)
        if status == nil { process.kill() }
        return status
    }

    /// Ends it at once, as a crash would.
    public func kill() { process.kill() }

    /// Whether it still runs.
    public var isRunning: Bool { process.exitStatus == nil }

    private func waitUntilReady(seconds: Int) throws {
        let deadline = time(nil) + seconds
        while true {
            if let status = process.exitStatus {
                throw ServerProcessError.endedEarly(status, log: logExcerpt)
            }
            if isReady { return }
            if time(nil) > deadline {
                process.kill()
                throw ServerProcessError.notReady(seconds: seconds, log: logExcerpt)
            }
            usleep(20_000)
        }
    }

    private var isReady: Bool {
        let volume = HTTPClient(port: volumePort, timeoutSeconds: 5)
        guard (try? volume.get("/status"))?.status == 200 else { return false }
        let master = HTTPClient(port: masterPort, timeoutSeconds: 5)
        guard let topology = try? master.get("/dir/status"), topology.status == 200 else {
            return false
        }
        return topology.text.contains("127.0.0.1:\(volumePort)")
    }
}

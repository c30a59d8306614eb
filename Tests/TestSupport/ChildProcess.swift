import Glibc
import Synchronization

/// How a process ended.
public enum ExitStatus: Sendable, Equatable {
    /// It called exit.
    case code(Int32)
    /// A signal ended it.
    case signal(Int32)
}

/// A child process that never outlives the object, nor this process when that ends in order.
public final class ChildProcess: Sendable {
    /// Its process id.
    public let pid: Int32
    private let ended = Mutex<ExitStatus?>(nil)

    /// Starts a program.
    ///
    /// - Parameters:
    ///   - program: Absolute path.
    ///   - arguments: Without the program's own name.
    ///   - environment: `NAME=value`, all of it.
    ///   - output: File that standard output and standard error are appended to.
    public init(
        _ program: String, _ arguments: [String], environment: [String], output: String
    ) throws(ServerProcessError) {
        var actions = unsafe posix_spawn_file_actions_t()
        unsafe posix_spawn_file_actions_init(&actions)
        defer { unsafe posix_spawn_file_actions_destroy(&actions) }
        let flags = O_WRONLY | O_CREAT | O_APPEND
        unsafe posix_spawn_file_actions_addopen(&actions, 0, "/dev/null", O_RDONLY, 0)
        unsafe posix_spawn_file_actions_addopen(&actions, 1, output, flags, 0o600)
        unsafe posix_spawn_file_actions_adddup2(&actions, 1, 2)
        var argumentPointers = unsafe ([program] + arguments).map { unsafe strdup($0) } + [nil]
        var environmentPointers = unsafe environment.map { unsafe strdup($0) } + [nil]
        defer {
            unsafe argumentPointers.forEach { unsafe free($0) }
            unsafe environmentPointers.forEach { unsafe free($0) }
        }
        var child: pid_t = 0
        let result = unsafe posix_spawn(
            &child, program, &actions, nil, &argumentPointers, &environmentPointers)
        guard result == 0 else { throw .cannotStart(program: program, code: result) }
        pid = child
        ChildRegistry.add(child)
    }

    deinit { kill() }

    /// Sends a signal unless the process was seen to end.
    public func send(signal: Int32) {
        ended.withLock { if $0 == nil { _ = Glibc.kill(pid, signal) } }
    }

    /// Whether it has ended.
    public var exitStatus: ExitStatus? { reap() }

    /// Ends it at once and waits for that.
    public func kill() {
        send(signal: SIGKILL)
        _ = waitForExit(seconds: 30)
    }

    /// Waits for its end; `nil` when it still runs after that time.
    public func waitForExit(seconds: Double) -> ExitStatus? {
        let rounds = Int(seconds * 200) + 1
        for _ in 0..<rounds {
            if let status = reap() { return status }
            usleep(5000)
        }
        return reap()
    }

    private func reap() -> ExitStatus? {
        ended.withLock { known in
            if let known { return known }
            var raw: Int32 = 0
            guard unsafe waitpid(pid, &raw, WNOHANG) == pid else { return nil }
            let signal = raw & 0x7f
            known = signal == 0 ? .code(raw >> 8 & 0xff) : .signal(signal)
            ChildRegistry.remove(pid)
            return known
        }
    }
}

/// Children to end when the test process exits.
private enum ChildRegistry {
    private static let living = Mutex<Set<Int32>>([])
    private static let installed: Void = {
        _ = atexit { ChildRegistry.killAll() }
    }()

    static func add(_ pid: Int32) {
        _ = installed
        living.withLock { _ = $0.insert(pid) }
    }

    static func remove(_ pid: Int32) {
        living.withLock { _ = $0.remove(pid) }
    }

    static func killAll() {
        living.withLock { for pid in $0 { _ = kill(pid, SIGKILL) } }
    }
}

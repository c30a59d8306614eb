import ArgumentParser
import Glibc

/// The `weed` command: the servers of a blob store, and their tools.
@main
struct Weed: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "weed",
        abstract: "A blob store compatible with SeaweedFS: a file in, a file out.",
        discussion: """
            Flags are written -name=value, -name value or --name=value. A switch may stand alone or \
            say -name=false. `weed help <command>` lists the flags of a command.
            """,
        subcommands: [
            ServerCommand.self, MasterCommand.self, VolumeCommand.self, UploadCommand.self,
            DownloadCommand.self, DeleteCommand.self,
            BenchmarkCommand.self, CompactCommand.self, IndexCommand.self,
            VersionCommand.self,
        ])

    /// Exit codes: 0 done, 1 failed, 2 wrong usage, 78 a configuration or state that must be changed first.
    static func main() {
        Glibc.exit(run(Array(CommandLine.arguments.dropFirst())))
    }

    /// Parses and runs one command line; returns the exit code.
    static func run(_ arguments: [String]) -> CInt {
        let line: CommandLineForm
        var command: any ParsableCommand
        do {
            line = try CommandLineForm(arguments)
            command = try parseAsRoot(line.arguments)
        } catch {
            return usage(error, arguments)
        }
        for note in line.notes { Terminal.error("weed: \(note)") }
        do {
            try command.run()
            return 0
        } catch let failure as CommandFailure {
            Terminal.error("weed: \(failure.description)")
            return failure.exitCode
        } catch {
            return usage(error, arguments)
        }
    }

    /// Says what was wrong with a command line, or shows the help that was asked for.
    private static func usage(_ error: any Error, _ arguments: [String]) -> CInt {
        if let failure = error as? UsageError {
            Terminal.error("weed: \(failure.message)\n\(failure.usage)")
            return 2
        }
        let text = fullMessage(for: error)
        guard exitCode(for: error) == .success else {
            let message = KnownFlags.hint(arguments) ?? message(for: error)
            Terminal.error("weed: \(message)\n\(CommandLineForm.usage(arguments))")
            return 2
        }
        guard arguments.first == "help" else {
            Terminal.error(text)
            return 2
        }
        Terminal.out(text)
        return 0
    }
}

/// Why a command that was understood did not succeed.
struct CommandFailure: Error, CustomStringConvertible {
    /// What, where, and what to do next.
    let description: String
    /// 1, or 78 when a configuration or state on disk has to be changed first.
    let exitCode: CInt

    /// A failure at run time.
    init(_ description: String) {
        self.description = description
        exitCode = 1
    }

    /// A failure that another try will not cure.
    static func state(_ description: String) -> CommandFailure {
        CommandFailure(description, exitCode: 78)
    }

    private init(_ description: String, exitCode: CInt) {
        self.description = description
        self.exitCode = exitCode
    }
}

/// Lines to the standard streams, without buffering surprises.
enum Terminal {
    /// A line to standard output.
    static func out(_ text: String) { write(text + "\n", to: STDOUT_FILENO) }
    /// A line to standard error.
    static func error(_ text: String) { write(text + "\n", to: STDERR_FILENO) }
    /// Text as it is to standard error, for a line that is drawn over.
    static func draw(_ text: String) { write(text, to: STDERR_FILENO) }

    /// Whether standard error is a terminal.
    static var errorIsTerminal: Bool { isatty(STDERR_FILENO) == 1 }

    private static func write(_ text: String, to descriptor: CInt) {
        var rest = Array(text.utf8)[...]
        while !rest.isEmpty {
            let count = unsafe rest.withUnsafeBytes { bytes in
                unsafe Glibc.write(descriptor, bytes.baseAddress, bytes.count)
            }
            if count < 0 {
                if errno == EINTR || errno == EAGAIN { continue }
                return
            }
            rest = rest.dropFirst(count)
        }
    }
}

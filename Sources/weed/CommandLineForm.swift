/// A command line as people type it, brought into the one form that is parsed.
///
/// What the Go original takes is taken here: `-name=value`, `-name value`, `--name=value`, switches that
/// stand alone or say `=true` or `=false`, and global flags before the command.
struct CommandLineForm {
    /// The arguments to parse.
    private(set) var arguments: [String] = []
    /// What was understood but has no effect here, one line each.
    private(set) var notes: [String] = []

    /// The commands there are.
    static let commands = [
        "server", "master", "volume", "upload", "download", "delete", "benchmark", "compact",
        "index", "version",
        "help",
    ]

    /// Switches: they take a value only with `=`.
    static let switches: [String: Set<String>] = [
        "server": ["disableHttp", "insecure"],
        "master": ["disableHttp", "insecure"],
        "volume": ["insecure"],
        "upload": ["usePublicUrl", "debug"],
        "download": ["debug"],
        "delete": ["debug"],
        "benchmark": ["write", "read", "delete", "fsync"],
        "compact": [],
        "index": [],
        "version": [],
        "help": [],
    ]

    /// Brings `arguments` (without the program's name) into the form that is parsed.
    init(_ arguments: [String]) throws(UsageError) {
        var rest = arguments[...]
        var global: [String] = []
        while let flag = rest.first, flag.hasPrefix("-") {
            guard ["-h", "-help", "--help", "--h"].contains(flag) == false else { break }
            rest.removeFirst()
            global.append(flag)
            guard !flag.contains("="), let value = rest.first, !value.hasPrefix("-"),
                !CommandLineForm.commands.contains(value)
            else { continue }
            global.append(value)
            rest.removeFirst()
        }
        guard let command = rest.first else {
            self.arguments = global.isEmpty ? [] : ["-h"]
            return
        }
        guard CommandLineForm.commands.contains(command) || command.hasPrefix("-") else {
            throw UsageError.unknownCommand(command)
        }
        self.arguments.append(command)
        try append(global[...], of: command)
        try append(rest.dropFirst(), of: command)
    }

    private mutating func append(
        _ given: ArraySlice<String>, of command: String
    ) throws(UsageError) {
        let switches = CommandLineForm.switches[command] ?? []
        let ignored = ForeignFlags.ignored(command)
        let refused = ForeignFlags.refused(command)
        var rest = given
        while let argument = rest.popFirst() {
            if argument == "--" {
                arguments.append(argument)
                arguments.append(contentsOf: rest)
                return
            }
            guard let flag = Flag(argument) else {
                arguments.append(argument)
                continue
            }
            if let foreign = ignored[flag.name] {
                notes.append("-\(flag.name) has no effect: \(foreign.reason)")
                if flag.value == nil, !foreign.isSwitch, let next = rest.first, Flag(next) == nil {
                    rest.removeFirst()
                }
                continue
            }
            if let reason = refused[flag.name] {
                guard let value = flag.value, Switch(argument: value)?.isOn == false else {
                    throw UsageError(
                        message: "-\(flag.name) is not taken: \(reason)",
                        usage: CommandLineForm.usage([command]))
                }
                continue
            }
            arguments.append(contentsOf: flag.parsed(isSwitch: switches.contains(flag.name)))
        }
    }

    /// How to go on after a wrong command line.
    static func usage(_ arguments: [String]) -> String {
        if let command = arguments.first(where: { commands.contains($0) }), command != "help" {
            let shape = command == "index" ? "index stats|get|verify|export" : command
            return "usage: weed \(shape) [flags]      (`weed help \(command)` lists them)"
        }
        return "usage: weed <command> [flags]      (`weed help` lists the commands)"
    }
}

extension CommandLineForm {
    /// One flag as typed.
    struct Flag {
        /// The name without dashes.
        let name: String
        /// What follows `=`.
        let value: String?

        /// Takes `-name`, `--name`, `-name=value` apart; `nil` for anything else, negative numbers included.
        init?(_ argument: String) {
            guard argument.hasPrefix("-") else { return nil }
            let body = argument.dropFirst(argument.hasPrefix("--") ? 2 : 1)
            guard let first = body.first, first.isLetter else { return nil }
            let parts = body.split(separator: "=", maxSplits: 1, omittingEmptySubsequences: false)
            name = String(parts[0])
            value = parts.count > 1 ? String(parts[1]) : nil
        }

        /// The flag in the one form that is parsed.
        func parsed(isSwitch: Bool) -> [String] {
            guard let value else { return isSwitch ? ["-\(name)=true"] : ["-\(name)"] }
            return name.count == 1 ? ["-\(name)", value] : ["-\(name)=\(value)"]
        }
    }
}

/// A command line that means nothing.
struct UsageError: Error, CustomStringConvertible {
    /// What was wrong, with a hint.
    let message: String
    /// How to go on.
    let usage: String

    /// The message.
    var description: String { message }

    /// A command that does not exist.
    static func unknownCommand(_ name: String) -> UsageError {
        let known = CommandLineForm.commands
        let hint: String
        if let reason = ForeignFlags.commands[name] {
            hint = ": \(reason)"
        } else if let near = Spelling.nearest(to: name, in: known) {
            hint = "; did you mean \"\(near)\"?"
        } else {
            hint = "; there are: \(known.joined(separator: ", "))"
        }
        return UsageError(
            message: "unknown command \"\(name)\"\(hint)", usage: CommandLineForm.usage([]))
    }
}

/// Guesses what was meant.
enum Spelling {
    /// The candidate closest to `word`, when it is close enough to be a slip of the finger.
    static func nearest(to word: String, in candidates: [String]) -> String? {
        let limit = max(1, word.count / 3)
        let scored = candidates.map { (distance(word, $0), $0) }.filter { $0.0 <= limit }
        return scored.min { $0.0 < $1.0 }?.1
    }

    /// How many letters have to be changed, added, removed or swapped with their neighbour.
    static func distance(_ left: String, _ right: String) -> Int {
        let a = Array(left.lowercased())
        let b = Array(right.lowercased())
        guard !a.isEmpty, !b.isEmpty else { return max(a.count, b.count) }
        var rows = [[Int]](
            repeating: [Int](repeating: 0, count: b.count + 1), count: a.count + 1)
        for i in 0...a.count { rows[i][0] = i }
        for j in 0...b.count { rows[0][j] = j }
        for i in 1...a.count {
            for j in 1...b.count {
                let change = rows[i - 1][j - 1] + (a[i - 1] == b[j - 1] ? 0 : 1)
                var best = min(change, rows[i - 1][j] + 1, rows[i][j - 1] + 1)
                if i > 1, j > 1, a[i - 1] == b[j - 2], a[i - 2] == b[j - 1] {
                    best = min(best, rows[i - 2][j - 2] + 1)
                }
                rows[i][j] = best
            }
        }
        return rows[a.count][b.count]
    }
}

import ArgumentParser

/// The flags of each command, for hints about misspelled ones.
enum KnownFlags {
    /// What to say about the first flag on the command line that its command does not have; `nil` when
    /// all are known.
    static func hint(_ arguments: [String]) -> String? {
        guard let command = arguments.first(where: { CommandLineForm.commands.contains($0) }),
            let type = type(of: command, in: arguments)
        else { return nil }
        let known = names(of: type)
        for argument in arguments {
            guard let flag = CommandLineForm.Flag(argument), !known.contains(flag.name),
                ForeignFlags.ignored(command)[flag.name] == nil,
                ForeignFlags.refused(command)[flag.name] == nil
            else { continue }
            return message(unknown: flag.name, known: known)
        }
        return nil
    }

    /// Names the flag and what was probably meant.
    static func message(unknown name: String, known: [String]) -> String {
        let sameEnding = known.filter { $0.hasSuffix(".\(name)") }
        if !sameEnding.isEmpty {
            let all = sameEnding.map { "-\($0)" }.joined(separator: " or ")
            return "unknown flag -\(name); did you mean \(all)?"
        }
        guard let near = Spelling.nearest(to: name, in: known) else {
            return "unknown flag -\(name)"
        }
        return "unknown flag -\(name); did you mean -\(near)?"
    }

    /// The names of a command's flags, read from its help.
    private static func names(of type: any ParsableCommand.Type) -> [String] {
        let help = Weed.helpMessage(for: type, columns: 400)
        var names: [String] = []
        for line in help.split(separator: "\n") where line.hasPrefix("  -") {
            for word in line.split(separator: " ").prefix(while: { $0.hasPrefix("-") }) {
                let name = word.drop { $0 == "-" }.prefix { $0 != "," }
                names.append(String(name))
            }
        }
        return names
    }

    private static func type(
        of command: String, in arguments: [String]
    ) -> (any ParsableCommand.Type)? {
        let commands = Weed.configuration.subcommands
        guard let found = commands.first(where: { $0.configuration.commandName == command }) else {
            return nil
        }
        let deeper = found.configuration.subcommands.first { sub in
            arguments.contains { $0 == sub.configuration.commandName }
        }
        return deeper ?? found
    }
}

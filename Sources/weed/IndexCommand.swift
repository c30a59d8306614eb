import ArgumentParser
import Model
import Needles
import Wire

/// `weed index`: looks into the index of a volume, also while its server runs.
struct IndexCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "index",
        abstract: "Look into the index of a volume; changes nothing, also while its server runs.",
        subcommands: [Stats.self, Get.self, Verify.self, Export.self])

    /// `weed index stats`.
    struct Stats: ParsableCommand {
        static let configuration = CommandConfiguration(
            commandName: "stats", abstract: "How many files, how many bytes, how far it reaches.")

        @OptionGroup var volume: VolumeOnDisk

        @Option(name: .customShort("o"), help: "How to print it.")
        var output = BenchmarkCommand.OutputFormat.text

        func run() throws {
            let found = try volume.inspect { inspector throws(NeedleError) in
                try inspector.statistics()
            }
            let values: [(name: String, label: String, value: UInt64)] = [
                ("entries", "entries", UInt64(found.entries)),
                ("deleted", "of deleted files", UInt64(found.deleted)),
                ("liveBytes", "bytes of live records", found.liveBytes),
                ("watermark", "covers the data file up to", found.watermark),
                ("dataLength", "length of the data file", found.dataLength),
                ("revision", "compaction revision", UInt64(found.revision)),
                ("maxKey", "largest key", found.maxKey),
                ("depth", "depth of the tree", UInt64(found.depth)),
                ("usedBytes", "bytes of the index in use", UInt64(found.usedBytes)),
            ]
            switch output {
            case .text:
                Terminal.out("index \(found.path)")
                for (_, label, value) in values {
                    let blanks = String(repeating: " ", count: max(1, 28 - label.count))
                    Terminal.out("  \(label)\(blanks)\(value)")
                }
            case .json:
                var json = JSONWriter(pretty: true)
                json.object {
                    $0.field("path", found.path)
                    for (name, _, value) in values { $0.field(name, value) }
                }
                Terminal.out(json.text)
            }
        }
    }

    /// `weed index get`.
    struct Get: ParsableCommand {
        static let configuration = CommandConfiguration(
            commandName: "get", abstract: "Where one file lies in the data file.",
            discussion: "weed index get -dir=./data -volumeId=3 3,01637037d6")

        @OptionGroup var volume: VolumeOnDisk

        @Argument(help: "A file id (3,01637037d6), or a needle key (decimal, or hex after 0x).")
        var file: String

        mutating func validate() throws {
            guard let key = try key else {
                throw ValidationError(
                    "\"\(file)\" is neither a file id (3,01637037d6) nor a key (1 or 0x01)")
            }
            _ = key
        }

        /// The needle's key; `nil` when the argument names none.
        private var key: NeedleKey? {
            get throws {
                if file.contains(",") {
                    guard let id = try? FileID(file) else { return nil }
                    guard id.volume == volume.volumeID else {
                        throw ValidationError(
                            "\(file) is in volume \(id.volume), not in \(volume.volumeID)")
                    }
                    return id.key
                }
                if file.hasPrefix("0x") { return NeedleKey(file.dropFirst(2), radix: 16) }
                return NeedleKey(file)
            }
        }

        func run() throws {
            guard let key = try key else { return }
            let found = try volume.inspect { inspector throws(NeedleError) in
                try inspector.location(of: key)
            }
            guard let found else {
                throw CommandFailure("volume \(volume.volumeID) has no needle \(file)")
            }
            let id = FileID(volume: volume.volumeID, key: key, cookie: found.cookie)
            Terminal.out(
                """
                \(id)
                  offset   \(found.offset)
                  size     \(found.size)
                  state    \(found.isDeleted ? "deleted" : "live")
                  found    \(found.isAboveWatermark ? "by scanning behind the index" : "in the index")
                """)
        }
    }

    /// `weed index verify`.
    struct Verify: ParsableCommand {
        static let configuration = CommandConfiguration(
            commandName: "verify",
            abstract: "Check index and data file against each other; exit 1 when one is wrong.")

        @OptionGroup var volume: VolumeOnDisk

        func run() throws {
            let found = try volume.inspect { inspector throws(NeedleError) in
                try inspector.verify()
            }
            for problem in found.problems { Terminal.error("weed: \(problem)") }
            Terminal.out("\(found.records) records read, \(found.entries) entries compared")
            guard found.problemCount == 0 else {
                throw CommandFailure(
                    "\(found.problemCount) problems; a lost or wrong index is made anew by removing "
                        + "the .lmdb files of volume \(volume.name) while its server is stopped")
            }
        }
    }

    /// `weed index export`.
    struct Export: ParsableCommand {
        static let configuration = CommandConfiguration(
            commandName: "export",
            abstract: "Write the .idx file that the Go original reads beside the .dat.",
            discussion: """
                Needed to hand a volume with empty files to the original; it makes the .idx of \
                others by itself.
                """)

        @OptionGroup var volume: VolumeOnDisk

        @Option(
            name: .customShort("o"),
            help: "Where to write it. Default: <collection>_<volumeId>.idx in this directory.")
        var path: String?

        func run() throws {
            let path = path ?? "\(volume.name).idx"
            let rows = try volume.inspect { inspector throws(NeedleError) in
                try inspector.export(to: path)
            }
            Terminal.out("\(rows) rows written to \(path)")
        }
    }
}

extension VolumeOnDisk {
    /// Looks into the volume's index.
    fileprivate func inspect<Found>(
        _ body: (IndexInspector) throws(NeedleError) -> Found
    ) throws(CommandFailure) -> Found {
        do {
            return try body(try IndexInspector(directory: dir, name: name))
        } catch {
            throw CommandFailure(error)
        }
    }
}

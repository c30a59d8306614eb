import ArgumentParser
import Logging
import Model
import Needles

/// `weed compact`: compaction of a volume whose server is stopped.
struct CompactCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "compact",
        abstract: "Compact a volume whose server is stopped: deleted files leave the disk.",
        discussion: """
            weed compact -dir=./data -volumeId=3

            A running server compacts by itself; curl http://<master>:9333/vol/vacuum asks it to.
            """)

    @OptionGroup var volume: VolumeOnDisk

    @Option(
        name: .go("compactionMBps"), help: "Megabytes a second to copy at most; 0 is no limit.")
    var megabytesPerSecond = 0

    mutating func validate() throws {
        guard (0...1_000_000).contains(megabytesPerSecond) else {
            throw ValidationError("-compactionMBps must be 0 (no limit) to 1000000")
        }
    }

    func run() throws {
        LineLogHandler.install(verbosity: 0)
        let report: OfflineCompaction.Report
        do {
            report = try OfflineCompaction.run(
                directory: volume.dir, name: volume.name,
                bytesPerSecond: megabytesPerSecond << 20, logger: Logger(label: "weed"))
        } catch {
            throw CommandFailure(error)
        }
        for note in report.notes { Terminal.error("weed: \(note)") }
        Terminal.out(
            """
            volume \(volume.name): \(report.bytesBefore) bytes before, \(report.bytesAfter) after
            records: \(report.needlesBefore) before, \(report.needlesAfter) after
            compaction revision: \(report.revision)
            """)
    }
}

/// Flags that name one volume on disk.
struct VolumeOnDisk: ParsableArguments {
    @Option(name: .go("dir"), help: "The directory of the volume.")
    var dir = "."

    @Option(name: .go("collection"), help: "The collection of the volume.")
    var collection = ""

    @Option(name: .go("volumeId"), help: "The number of the volume.")
    var volumeID: VolumeID

    mutating func validate() throws {
        guard VolumeName.isValid(collection: collection) else {
            throw ValidationError("-collection=\(collection) is not a collection name")
        }
    }

    /// The base name of the volume's files.
    var name: VolumeName { VolumeName(collection: collection, id: volumeID) }
}

extension CommandFailure {
    /// A failure of the storage engine; what somebody has to change on disk first exits with 78.
    init(_ error: NeedleError) {
        switch error {
        case .inUse, .damaged, .invalid: self = .state(error.description)
        default: self.init(error.description)
        }
    }
}

import TestSupport
import Testing

extension BlackBox {
    /// Volumes written by the Go original, read in place.
    @Suite struct Golden {
        static let groups = (try? GoldenGroup.all()) ?? []

        @Test func everyDirectoryIsInAGroup() throws {
            let count = Self.groups.reduce(0) { $0 + $1.cases.count }
            #expect(count == 98)
        }

        @Test(arguments: groups)
        func answersAsTheManifestsSay(_ group: GoldenGroup) async throws {
            let report = try await onThread { try GoldenRun(group).run() }
            for line in report.differences { print("difference:", line) }
            print("golden: \(report.compared) answers compared, \(report.faults.count) faults")
            for fault in report.faults { Issue.record(Comment(rawValue: fault)) }
            #expect(report.compared > 0 || group.cases.allSatisfy { $0.entries.isEmpty })
        }
    }
}

/// One group through the life of a server: load, stop, load again, write, stop, load.
struct GoldenRun {
    struct Report: Sendable {
        var compared = 0
        var faults: [String] = []
        var differences: [String] = []
    }

    let group: GoldenGroup
    private let directory: TemporaryDirectory
    private var check: GoldenCheck
    private var report = Report()

    /// A file id that no golden volume holds.
    private static let probe = "0fffffffdeadbeef"
    private static let probeBytes = Array("probe of a golden volume".utf8)

    init(_ group: GoldenGroup) throws {
        self.group = group
        directory = try TemporaryDirectory("golden")
        check = try GoldenCheck(withDifferences: true)
        for setup in group.cases { try setup.install(in: directory.path) }
    }

    func run() throws -> Report {
        var copy = self
        try copy.readOnlyPass("on first load")
        try copy.readOnlyPass("on second load")
        let written = try copy.writePass()
        try copy.lastPass(written)
        copy.report.faults += copy.check.faults
        copy.report.compared = copy.check.compared
        copy.report.differences = Array(Set(copy.check.differences)).sorted()
        return copy.report
    }

    private func start() throws -> ServerProcess {
        var configuration = ServerProcess.Configuration(directory: directory.path)
        configuration.maxVolumes = 200
        return try ServerProcess(configuration)
    }

    private mutating func readOnlyPass(_ moment: String) throws {
        let server = try start()
        let client = HTTPClient(port: server.volumePort)
        for setup in group.cases { try check.check(setup, client, moment) }
        stop(server, moment)
        compareFiles(moment)
    }

    /// Uploads one small file to every volume; the volumes that took it.
    private mutating func writePass() throws -> [GoldenSetup] {
        let server = try start()
        let client = HTTPClient(port: server.volumePort)
        var written: [GoldenSetup] = []
        for setup in group.cases {
            guard let recorded = setup.writeAfterLoad, let volume = setup.volumes.first else {
                continue
            }
            let answer = try client.upload(
                "/\(volume),\(Self.probe)", MultipartFile(Self.probeBytes, name: "probe.bin"))
            if answer.status == 201 { written.append(setup) }
            let allowed: Set<Int> =
                GoldenDifferences.writeMayDiffer(setup.name) ? [201, 500] : [recorded.status]
            if !allowed.contains(answer.status) {
                report.faults.append(
                    "\(setup.name): upload answers \(answer.status), expected \(allowed): "
                        + answer.text)
            }
        }
        stop(server, "after uploads")
        return written
    }

    private mutating func lastPass(_ written: [GoldenSetup]) throws {
        let server = try start()
        let client = HTTPClient(port: server.volumePort)
        for setup in group.cases { try check.check(setup, client, "after an upload") }
        for setup in written {
            guard let volume = setup.volumes.first else { continue }
            let answer = try client.get("/\(volume),\(Self.probe)")
            if answer.status != 200 || answer.body != Self.probeBytes {
                report.faults.append(
                    "\(setup.name): the acknowledged upload answers \(answer.status)")
            }
        }
        stop(server, "at the end")
    }

    private mutating func stop(_ server: ServerProcess, _ moment: String) {
        let status = server.stop()
        if status != .code(0) {
            let shown = status.map { "\($0)" } ?? "no end within the limit"
            report.faults.append("stop \(moment): \(shown): \(server.logExcerpt)")
        }
    }

    /// Loading and reading must leave the original's files as they were.
    private mutating func compareFiles(_ moment: String) {
        for setup in group.cases where !GoldenDifferences.compactionFinished.contains(setup.name) {
            for (name, source) in setup.files {
                if let fault = fileFault(setup, name, source) {
                    report.faults.append("\(setup.name): \(name) \(fault) \(moment)")
                }
            }
        }
    }

    private func fileFault(_ setup: GoldenSetup, _ name: String, _ source: String) -> String? {
        let kind = name.split(separator: ".").last ?? ""
        guard ["dat", "idx", "vif"].contains(kind) else { return nil }
        let before = Files.read(source) ?? []
        let cut = GoldenDifferences.tailMayBeCut.contains(setup.name)
        let indexMayChange = cut || GoldenDifferences.indexMayChange.contains(setup.name)
        if kind == "idx" && indexMayChange { return nil }
        guard let after = Files.read(directory.file(name)) else { return "was removed" }
        if after == before { return nil }
        if kind == "vif" && before.isEmpty { return nil }
        if kind == "dat" && cut && before.starts(with: after) && after.count % 8 == 0 {
            return nil
        }
        return "changed from \(before.count) to \(after.count) bytes"
    }
}

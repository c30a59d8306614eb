import TestSupport
import Testing

extension BlackBox {
    /// Volumes written by us, served by the Go original, and back.
    @Suite struct GoRoundTrip {
        @Test func oursIsServedByTheOriginalAndBack() async throws {
            guard let weed = GoOriginal.path(neededFor: "round trip") else {
                try Test.cancel("the Go original is not installed")
            }
            let seed = Seed("round trip")
            let trip = try await onThread {
                var trip = try RoundTrip(weed: weed)
                try trip.run(seed)
                return (trip.compared, trip.faults)
            }
            print("round trip: \(trip.0) files compared")
            for fault in trip.1 { Issue.record(Comment(rawValue: fault)) }
            #expect(trip.0 > 300)
        }
    }
}

/// The stations of the round trip.
struct RoundTrip {
    private let weed: String
    private let ours: TemporaryDirectory
    private(set) var faults: [String] = []
    private(set) var compared = 0

    init(weed: String) throws {
        self.weed = weed
        ours = try TemporaryDirectory("round-trip")
    }

    mutating func run(_ seed: Seed) throws {
        var server = try start(.ours, ours.path)
        var uploads = RoundTripUploads(server, seed: seed)
        try uploads.run()
        faults += uploads.faults
        var here = try answers(uploads.fids, server)
        stop(server, "after the uploads")
        try serveElsewhere(here, uploads.empty, withIndex: true, "as written")
        try serveElsewhere(here, uploads.empty, withIndex: false, "without an index")

        server = try start(.ours, ours.path)
        compare(here, try answers(uploads.fids, server), "ours after a restart")
        let vacuum = try HTTPClient(port: server.masterPort, timeoutSeconds: 120)
            .get("/vol/vacuum?garbageThreshold=0.0001")
        if vacuum.status != 200 { faults.append("vacuum answers \(vacuum.status)") }
        let compacted = try answers(uploads.fids, server)
        compare(here, compacted, "ours after compaction")
        here = compacted
        stop(server, "after compaction")
        let theirs = try serveElsewhere(here, uploads.empty, withIndex: true, "compacted")
        try comeBack(uploads.fids, uploads.chunked, theirs)
    }

    private func start(
        _ program: ServerProcess.Program, _ directory: String
    ) throws -> ServerProcess {
        var configuration = ServerProcess.Configuration(directory: directory)
        configuration.program = program
        configuration.maxVolumes = 40
        return try ServerProcess(configuration)
    }

    private mutating func stop(_ server: ServerProcess, _ moment: String) {
        let status = server.stop()
        if status != .code(0) { faults.append("stop \(moment): \(status as Any)") }
    }

    private func answers(_ fids: [String], _ server: ServerProcess) throws -> [ServedFile] {
        let client = HTTPClient(port: server.volumePort)
        return try fids.map {
            try ServedFile($0, pairs: RoundTripUploads.pairs, from: client)
        }
    }

    private mutating func compare(_ left: [ServedFile], _ right: [ServedFile], _ moment: String) {
        for (one, other) in zip(left, right) {
            compared += 1
            faults += one.differences(to: other).map { "\(moment): \($0)" }
        }
    }

    /// Copies the volumes, without anything only we understand, and lets the original serve them.
    ///
    /// - Parameter withIndex: Writes the original's index first; else it has to make its own,
    ///   which takes empty files for deletes.
    /// - Returns: The directory the original left.
    @discardableResult
    private mutating func serveElsewhere(
        _ here: [ServedFile], _ empty: Set<String>, withIndex: Bool, _ moment: String
    ) throws -> TemporaryDirectory {
        let target = try TemporaryDirectory("round-trip-go")
        for name in Files.names(in: ours.path)
        where name.hasSuffix(".dat") || name.hasSuffix(".vif") {
            try Files.copy(ours.file(name), to: target.file(name))
        }
        if withIndex { try exportIndexes(to: target) }
        let server = try start(.goOriginal(weed), target.path)
        let compared = here.filter { withIndex || !empty.contains($0.fid) }
        compare(compared, try answers(compared.map(\.fid), server), "the original, \(moment)")
        let log = server.log
        for line in log.split(separator: "\n") where line.contains("marking readonly") {
            faults.append("the original, \(moment): \(line)")
        }
        server.kill()
        return target
    }

    /// Writes `.idx` files with `weed index export`.
    private mutating func exportIndexes(to target: TemporaryDirectory) throws {
        for name in Files.names(in: target.path) where name.hasSuffix(".dat") {
            let base = String(name.dropLast(4))
            let parts = base.split(separator: "_")
            let collection = parts.dropLast().joined(separator: "_")
            let output = target.file("export-output")
            let child = try ChildProcess(
                Repository.weed,
                [
                    "index", "export", "-dir=\(ours.path)", "-collection=\(collection)",
                    "-volumeId=\(parts.last ?? "")", "-o=\(target.file(base + ".idx"))",
                ], environment: [], output: output)
            let status = child.waitForExit(seconds: 60)
            if status != .code(0) || !Files.exist(target.file(base + ".idx")) {
                let text = String(decoding: Files.read(output) ?? [], as: UTF8.self)
                faults.append("weed index export of \(base): \(status as Any) \(text)")
            }
        }
    }

    /// The original changes the volumes; ours must notice that its own index is out of date.
    private mutating func comeBack(
        _ fids: [String], _ untouched: Set<String>, _ theirs: TemporaryDirectory
    ) throws {
        var server = try start(.goOriginal(weed), theirs.path)
        let client = HTTPClient(port: server.volumePort)
        for (number, fid) in fids.enumerated() where !untouched.contains(fid) {
            if number % 5 == 0 {
                let file = MultipartFile(Array("changed there \(number)".utf8), name: "go.bin")
                _ = try client.upload("/\(fid)", file)
            } else if number % 5 == 1 {
                _ = try client.delete("/\(fid)")
            }
        }
        let there = try answers(fids, server)
        server.kill()
        for name in Files.names(in: theirs.path) {
            let wanted = [".dat", ".vif", ".idx"].contains { name.hasSuffix($0) }
            if wanted { try Files.copy(theirs.file(name), to: ours.file(name)) }
        }
        server = try start(.ours, ours.path)
        compare(there, try answers(fids, server), "back here, changed by the original")
        stop(server, "at the end")
    }
}

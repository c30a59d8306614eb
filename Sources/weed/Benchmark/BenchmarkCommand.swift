import ArgumentParser
import Glibc
import NIOCore
import NIOPosix

/// `weed benchmark`: writes files, reads them back at random, checks every byte, and measures.
struct BenchmarkCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "benchmark",
        abstract: "Write files, then read them at random; check every byte, and measure.",
        discussion: """
            weed benchmark -n=100000 -c=16 -size=1024

            A write is an assign at the master and an upload to the volume server. What a file holds \
            follows from its id and -seed, so that a later run can check what an earlier one wrote: \
            keep the ids with -list and read them with -write=false.
            """)

    @Option(
        name: .go("master", "server"),
        help: "host:port of the master.") var master = "localhost:9333"
    @Option(name: .customShort("n"), help: "How many files to write, and how many reads.")
    var count = 1_048_576
    @Option(name: .customShort("c"), help: "How many connections, each with one request under way.")
    var concurrency = 16
    @Option(name: .go("size"), help: "Bytes of a file.") var size = 1024
    @Option(name: .go("write"), help: "Write files.") var write = Switch(true)
    @Option(name: .go("read"), help: "Read files.") var read = Switch(true)
    @Option(
        name: .go("deletePercent"),
        help: "Percent of the files to delete in the end, and to see gone.") var deletePercent = 0
    @Option(name: .go("collection"), help: "The collection to write to.")
    var collection = "benchmark"
    @Option(name: .go("replication"), help: "Copies of a file: xyz. Default: the master's.")
    var replication = ""
    @Option(name: .go("fsync"), help: "Ask for every write to be on disk before its answer.")
    var fsync = Switch(false)
    @Option(
        name: .go("list"),
        help: """
            A file with one file id a line: read when not writing, and left with the files that \
            are still there.
            """)
    var list = ""
    @Option(name: .go("seed"), help: "What the contents and the order of reads follow from.")
    var seed: UInt64 = 1
    @Option(name: .go("threads"), help: "Client threads. Default: one per processor core.")
    var threads: Int?
    @Option(name: .customShort("o"), help: "How to print the result.")
    var output = OutputFormat.text

    /// How a result is printed.
    enum OutputFormat: String, ExpressibleByArgument, CaseIterable, Sendable {
        case text, json
    }

    /// Most connections at once.
    static let concurrencyLimit = 4096
    /// Largest file, in bytes: it is held in memory to be compared.
    static let sizeLimit = 256 << 20
    /// Most files of one run: their ids are held in memory.
    static let countLimit = 100_000_000

    mutating func validate() throws {
        try check(count, "n", 1...BenchmarkCommand.countLimit)
        try check(concurrency, "c", 1...BenchmarkCommand.concurrencyLimit)
        try check(size, "size", 1...BenchmarkCommand.sizeLimit)
        try check(deletePercent, "deletePercent", 0...100)
        try check(threads ?? 1, "threads", 1...Checked.threadLimit)
        guard Endpoint(master) != nil else {
            throw ValidationError("-master=\(master) is not host:port")
        }
        guard write.isOn || !list.isEmpty else {
            throw ValidationError("-write=false needs the ids to read: -list=<file>")
        }
        guard write.isOn || read.isOn || deletePercent > 0 else {
            throw ValidationError("nothing to do: both -write and -read are false")
        }
    }

    private func check(_ value: Int, _ name: String, _ range: ClosedRange<Int>) throws {
        guard range.contains(value) else {
            throw ValidationError(
                "-\(name)=\(value) is not from \(range.lowerBound) to \(range.upperBound)")
        }
    }

    func run() throws {
        guard let endpoint = Endpoint(master) else { return }
        signal(SIGPIPE, SIG_IGN)
        let plan = BenchmarkPlan(
            master: endpoint, size: size, collection: collection, replication: replication,
            forcesSync: fsync.isOn, seed: seed)
        let threads = min(concurrency, self.threads ?? Checked.processors)
        let group = MultiThreadedEventLoopGroup(numberOfThreads: threads)
        let outcome = Result { () throws -> [PhaseResult] in
            let runner = BenchmarkRunner(plan: plan, group: group, concurrency: concurrency)
            try runner.checkMaster()
            return try phases(runner)
        }
        try? group.syncShutdownGracefully()
        try print(outcome.get())
    }

    private func phases(_ runner: BenchmarkRunner) throws -> [PhaseResult] {
        var results: [PhaseResult] = []
        var files: [UploadedFile]
        if write.isOn {
            let written = try runner.run(.write, total: count, files: [])
            results.append(written)
            files = written.files
        } else {
            files = try FileList.read(list)
        }
        guard !files.isEmpty else { return results }
        if read.isOn {
            results.append(try runner.run(.read, total: count, files: files))
        }
        let deletes = files.count * deletePercent / 100
        if deletes > 0 {
            results.append(
                try runner.run(.delete, total: deletes, files: Array(files.prefix(deletes))))
        }
        if !list.isEmpty, write.isOn || deletes > 0 {
            try FileList.write(Array(files.dropFirst(deletes)), to: list)
        }
        return results
    }

    private func print(_ results: [PhaseResult]) throws {
        let report = BenchmarkReport(results: results, concurrency: concurrency, size: size)
        switch output {
        case .text: Terminal.out(report.text)
        case .json: Terminal.out(report.json)
        }
        let failed = results.reduce(0) { $0 + $1.failed }
        guard failed == 0 else {
            throw CommandFailure("\(failed) requests failed or brought wrong bytes; see above")
        }
    }
}

/// A host and a port.
struct Endpoint: Sendable, Hashable {
    /// The host name or address.
    let host: String
    /// The port.
    let port: Int

    /// Parses `host:port`; IPv6 addresses in brackets.
    init?(_ text: String) {
        guard let colon = text.lastIndex(of: ":"),
            let port = Int(text[text.index(after: colon)...]), (1...65_535).contains(port),
            colon > text.startIndex
        else { return nil }
        var host = text[..<colon]
        if host.hasPrefix("["), host.hasSuffix("]") { host = host.dropFirst().dropLast() }
        self.host = String(host)
        self.port = port
    }

    /// As it stands in a `Host` header.
    var authority: String { host.contains(":") ? "[\(host)]:\(port)" : "\(host):\(port)" }
}

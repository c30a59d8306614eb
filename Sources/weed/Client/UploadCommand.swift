import ArgumentParser

/// `weed upload`: stores files and prints where.
struct UploadCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "upload",
        abstract: "Store files, or all files below a directory, and print their ids as JSON.",
        discussion: """
            weed upload -master=localhost:9333 file1 file2
            weed upload -master=localhost:9333 -dir=./pictures -include='*.jpg'

            Files given one by one get ids of one volume: <fid>, <fid>_1, <fid>_2 and so on. A file \
            larger than -maxMB is cut into chunks; the id printed names the whole.
            """)

    @Option(
        name: .go("master", "server"), help: "host:port of the masters, separated by commas.")
    var master = MasterList.standard
    @Option(name: .go("dir"), help: "Store every file below this directory.")
    var dir: String?
    @Option(
        name: .go("include"),
        help: "With -dir: only files whose names match, as in *.pdf or ab?d.txt.")
    var include = ""
    @Option(
        name: .go("maxMB"), help: "Cut files larger than this many megabytes into chunks; 0: never."
    )
    var maxMB = 4
    @Option(name: .go("collection"), help: "The collection to store in.") var collection = ""
    @Option(name: .go("replication"), help: "Copies: xyz. Default: the master's.")
    var replication = ""
    @Option(name: .go("ttl"), help: "How long to keep the files, as in 3m, 4h, 5d, 6w, 7M, 8y.")
    var ttl = ""
    @Option(name: .go("dataCenter"), help: "The data center to store in.") var dataCenter = ""
    @Option(name: .go("disk"), help: "The disk type to store on: hdd, ssd or a tag.")
    var disk = ""
    @Option(
        name: .go("usePublicUrl"),
        help: "Send to the address that volume servers have for clients.")
    var usePublicURL = Switch(false)
    @Option(name: .go("debug"), help: "Tell every request on standard error.")
    var debug = Switch(false)
    @Argument(help: "Files to store.") var files: [String] = []

    /// Largest `-maxMB`: a chunk lies in one volume.
    static let chunkLimitMB = 30_000
    /// Files of a directory under way at once.
    static let parallelFiles = 4
    /// Most file ids taken at once.
    static let assignLimit = 1000

    mutating func validate() throws {
        guard dir == nil || files.isEmpty else {
            throw ValidationError("give files or -dir=<directory>, not both")
        }
        guard dir != nil || !files.isEmpty else {
            throw ValidationError("nothing to upload: name files, or a directory with -dir")
        }
        guard maxMB <= UploadCommand.chunkLimitMB else {
            throw ValidationError(
                "-maxMB=\(maxMB) is more than \(UploadCommand.chunkLimitMB): no volume holds it")
        }
    }

    func run() throws {
        let command = self
        let wish = StorageWish(
            collection: collection, replication: replication, ttl: ttl, dataCenter: dataCenter,
            disk: disk)
        let failed = try ClusterClient.with(masters: master, isVerbose: debug.isOn) {
            client async throws(CommandFailure) in
            let uploader = Uploader(
                cluster: client, wish: wish,
                chunkBytes: command.maxMB > 0 ? UInt64(command.maxMB) << 20 : nil,
                usesPublicURL: command.usePublicURL.isOn)
            if let dir = command.dir { return try await command.uploadTree(dir, uploader) }
            return try await command.uploadFiles(uploader)
        }
        guard failed == 0 else {
            throw CommandFailure(
                failed == 1
                    ? "one file is not stored; its reason is in the field \"error\""
                    : "\(failed) files are not stored; the reasons are in the fields \"error\"")
        }
    }

    /// Stores the files given; nothing is stored when one of them cannot be read.
    private func uploadFiles(_ uploader: Uploader) async throws(CommandFailure) -> Int {
        var results: [UploadResult] = []
        for start in stride(from: 0, to: files.count, by: UploadCommand.assignLimit) {
            let end = min(files.count, start + UploadCommand.assignLimit)
            do throws(ClientError) {
                for path in files[start..<end] { try SourceFile.check(path) }
                let place = try await uploader.cluster.assign(uploader.wish, count: end - start)
                let numbered = files[start..<end].enumerated()
                await Work.inOrder(numbered, parallel: UploadCommand.parallelFiles) {
                    number, path in
                    await UploadCommand.upload(path, uploader, at: place.at(number))
                } deliver: {
                    results.append($0)
                }
            } catch {
                if !results.isEmpty { Terminal.out(UploadResult.json(results)) }
                throw CommandFailure(error.description)
            }
        }
        Terminal.out(UploadResult.json(results))
        return results.count { $0.error != nil }
    }

    /// Stores what is below a directory, and prints one line for each file.
    private func uploadTree(
        _ directory: String, _ uploader: Uploader
    ) async throws(CommandFailure) -> Int {
        let tree: FileTree
        do throws(ClientError) {
            tree = try FileTree(directory, pattern: include)
        } catch {
            throw CommandFailure(error.description)
        }
        var failed = 0
        await Work.inOrder(tree, parallel: UploadCommand.parallelFiles) { entry in
            switch entry {
            case .unreadable(let path, let why): UploadResult(fileName: path, error: why)
            case .file(let path): await UploadCommand.upload(path, uploader)
            }
        } deliver: { result in
            Terminal.out(UploadResult.json([result]))
            if result.error != nil { failed += 1 }
        }
        return failed
    }

    private static func upload(
        _ path: String, _ uploader: Uploader, at place: Assignment? = nil
    ) async -> UploadResult {
        do throws(ClientError) {
            return await uploader.store(try SourceFile(path), at: place)
        } catch {
            let name = path.split(separator: "/").last.map(String.init) ?? path
            return UploadResult(fileName: name, error: error.description)
        }
    }
}

extension Assignment {
    /// The assignment of the id with the number `index`.
    func at(_ index: Int) -> Assignment {
        Assignment(fid: fid(index), url: url, publicURL: publicURL, token: token)
    }
}

extension MasterList {
    /// The master of this machine.
    static let standard = MasterList(masters: [Master(http: "localhost:9333", grpcPort: 19_333)])
}

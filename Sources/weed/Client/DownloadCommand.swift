import ArgumentParser
import AsyncHTTPClient
import Model
import NIOCore
import NIOHTTP1
import Synchronization

/// `weed download`: fetches files by their ids.
struct DownloadCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "download",
        abstract: "Fetch files by their ids, each under the name it was stored with.",
        discussion: """
            weed download -master=localhost:9333 -dir=./fetched 3,01637037d6 4,02deadbeef

            A file stored without a name is called like its id; so is a second one of the same name. \
            A file in chunks arrives whole.
            """)

    @Option(
        name: .go("master", "server"), help: "host:port of the masters, separated by commas.")
    var master = MasterList.standard
    @Option(name: .go("dir"), help: "The directory to put the files in.") var dir = "."
    @Option(name: .go("debug"), help: "Tell every request on standard error.")
    var debug = Switch(false)
    @Argument(help: "Ids of files.") var fids: [String]

    /// Files under way at once.
    static let parallelFiles = 4

    func run() throws {
        let command = self
        let failed = try ClusterClient.with(masters: master, isVerbose: debug.isOn) {
            client async throws(CommandFailure) in
            let downloader = Downloader(cluster: client, directory: command.dir)
            var failed = 0
            await Work.inOrder(command.fids, parallel: DownloadCommand.parallelFiles) { fid in
                await downloader.fetch(fid)
            } deliver: { error in
                guard let error else { return }
                failed += 1
                Terminal.error("weed: \(error)")
            }
            return failed
        }
        guard failed == 0 else {
            throw CommandFailure("\(failed) of \(fids.count) files are not downloaded; see above")
        }
    }
}

/// Fetches files into a directory.
final class Downloader: Sendable {
    private let cluster: ClusterClient
    private let directory: String
    /// Names given in this run.
    private let names = Mutex<Set<String>>([])

    /// Files go to `directory`.
    init(cluster: ClusterClient, directory: String) {
        self.cluster = cluster
        self.directory =
            directory.count > 1 && directory.hasSuffix("/")
            ? String(directory.dropLast()) : directory
    }

    /// Fetches one file; returns why it is not there.
    func fetch(_ fid: String) async -> ClientError? {
        do throws(ClientError) {
            do { _ = try FileID(fid) } catch { throw ClientError.badFileID(fid) }
            let places = try await cluster.locate(fid, forReading: true)
            var failure = ClientError.badFileID(fid)
            for url in places.urls {
                do throws(ClientError) {
                    try await fetch(fid, from: url, token: places.token)
                    return nil
                } catch {
                    if case .local = error { throw error }
                    failure = error
                }
            }
            throw failure
        } catch {
            return error
        }
    }

    private func fetch(_ fid: String, from url: String, token: String?) async throws(ClientError) {
        let what = "downloading \(fid)"
        var request = HTTPClientRequest(url: "http://\(url)/\(fid)")
        if let token { request.headers.add(name: "Authorization", value: token) }
        let response = try await cluster.send(what, request, to: url)
        guard response.status == .ok else {
            let body = try? await response.body.collect(upTo: 4096)
            let text = body.map {
                String(decoding: $0.readableBytesView.prefix(300), as: UTF8.self)
            }
            throw .refused(
                what: what, address: url, status: Int(response.status.code),
                text: response.status == .notFound ? "no such file" : text ?? "")
        }
        let file = try TargetFile(in: directory)
        do {
            var received = 0
            for try await piece in response.body {
                received += piece.readableBytes
                try await file.append(piece)
            }
            let told = response.headers.first(name: "Content-Length").flatMap(Int.init)
            guard told == nil || told == received else {
                throw ClientError.malformed(
                    what: what, address: url,
                    why: "\(received) bytes came of \(told ?? 0)")
            }
        } catch let error as ClientError {
            throw error
        } catch {
            throw .unreachable(what: what, address: url, why: ClientError.reason(error))
        }
        let disposition = response.headers.first(name: "Content-Disposition") ?? ""
        try file.finish(as: claim(DispositionName.parse(disposition) ?? fid, fid))
    }

    /// A name no other file of this run has.
    private func claim(_ name: String, _ fid: String) -> String {
        names.withLock { names in
            let chosen = names.contains(name) ? "\(name)-\(fid)" : name
            names.insert(chosen)
            return chosen
        }
    }
}

/// The file name in a `Content-Disposition` header.
enum DispositionName {
    /// Most bytes of a name.
    static let limit = 255

    /// The name, safe to use in a directory; `nil` when there is none.
    static func parse(_ header: String) -> String? {
        var plain: String?
        var rest = Substring(header)
        while let semicolon = rest.firstIndex(of: ";") {
            rest = rest[rest.index(after: semicolon)...].drop { $0 == " " }
            guard let equals = rest.firstIndex(of: "=") else { break }
            let name = rest[..<equals].lowercased()
            rest = rest[rest.index(after: equals)...]
            let value = takeValue(&rest)
            if name == "filename*", let text = extended(value) { return safe(text) }
            if name == "filename" { plain = value }
        }
        return plain.flatMap(safe)
    }

    /// A quoted text or a token, from the front of `rest`.
    private static func takeValue(_ rest: inout Substring) -> String {
        guard rest.first == "\"" else {
            let value = rest.prefix { $0 != ";" }
            rest = rest[value.endIndex...]
            return String(value)
        }
        rest.removeFirst()
        var value = ""
        while let character = rest.popFirst(), character != "\"" {
            if character == "\\", let escaped = rest.popFirst() {
                value.append(escaped)
            } else {
                value.append(character)
            }
        }
        return value
    }

    /// `utf-8''%C3%A9.txt`, decoded.
    private static func extended(_ text: String) -> String? {
        let parts = text.split(separator: "'", maxSplits: 2, omittingEmptySubsequences: false)
        guard parts.count == 3, parts[0].lowercased() == "utf-8" else { return nil }
        var bytes: [UInt8] = []
        var rest = Array(parts[2].utf8)[...]
        while let byte = rest.popFirst() {
            guard byte == 0x25 else {
                bytes.append(byte)
                continue
            }
            let digits = String(decoding: rest.prefix(2), as: UTF8.self)
            guard digits.utf8.count == 2, let value = UInt8(digits, radix: 16) else { return nil }
            bytes.append(value)
            rest = rest.dropFirst(2)
        }
        return String(decoding: bytes, as: UTF8.self)
    }

    /// The last part of a path, when it is the name of a file.
    private static func safe(_ name: String) -> String? {
        let base = name.split(whereSeparator: { $0 == "/" || $0 == "\\" }).last ?? ""
        guard !base.isEmpty, base != ".", base != "..", base.utf8.count <= limit,
            !base.utf8.contains(0)
        else { return nil }
        return String(base)
    }
}

import AsyncHTTPClient
import FoundationEssentials
import NIOCore
import NIOHTTP1
import Wire

/// What became of one file; printed as the Go original prints it.
struct UploadResult: Sendable, Equatable {
    /// The name without directories.
    var fileName: String
    /// `host:port/fid`.
    var url = ""
    /// Where it is stored.
    var fid = ""
    /// Its bytes.
    var size: UInt64 = 0
    /// Why it is not stored.
    var error: String?

    /// A JSON array of results.
    static func json(_ results: [UploadResult]) -> String {
        var json = JSONWriter()
        json.array { list in
            for result in results {
                list.object {
                    $0.field("fileName", result.fileName)
                    if !result.url.isEmpty { $0.field("url", result.url) }
                    if !result.fid.isEmpty { $0.field("fid", result.fid) }
                    if result.size > 0 { $0.field("size", result.size) }
                    if let error = result.error { $0.field("error", error) }
                }
            }
        }
        return json.text
    }
}

/// Stores files: small ones as they are, large ones in chunks with a manifest.
struct Uploader: Sendable {
    /// The cluster.
    let cluster: ClusterClient
    /// Where files go.
    let wish: StorageWish
    /// Bytes of a file from which on it is cut into chunks of as many; `nil` for never.
    let chunkBytes: UInt64?
    /// Whether files are sent to the address for clients.
    let usesPublicURL: Bool

    /// Chunks of one file under way at once.
    static let parallelChunks = 4
    /// How often a file or chunk is tried, with a new file id each time.
    static let attempts = 3

    /// Stores a file; first at the id given, if any, else and after failures at new ones.
    func store(_ file: SourceFile, at first: Assignment? = nil) async -> UploadResult {
        var result = UploadResult(fileName: file.name)
        do throws(ClientError) {
            let stored: Assignment
            if let chunkBytes, file.size > chunkBytes {
                stored = try await storeChunked(file, chunkBytes, at: first)
            } else {
                let body = UploadBody(.file(file, 0..<file.size), name: file.name)
                let query = "ts=\(file.modified)"
                stored = try await store(body, "uploading \(file.path)", query, file.size, first)
            }
            result.fid = stored.fid
            result.url = "\(address(stored))/\(stored.fid)"
            result.size = file.size
        } catch {
            result.error = error.description
        }
        return result
    }

    private func address(_ place: Assignment) -> String {
        usesPublicURL ? place.publicURL : place.url
    }

    // MARK: One piece

    /// Uploads a body; a server that fails is not the end of it, another id may lie elsewhere.
    private func store(
        _ body: UploadBody, _ what: String, _ query: String, _ size: UInt64,
        _ first: Assignment?
    ) async throws(ClientError) -> Assignment {
        var place = first
        for attempt in 1... {
            let target: Assignment
            if let given = place { target = given } else { target = try await cluster.assign(wish) }
            do throws(ClientError) {
                try await send(body, what, query, size, to: target)
                return target
            } catch {
                guard error.isWorthAnotherTry, attempt < Uploader.attempts else { throw error }
                place = nil
            }
        }
        preconditionFailure("the loop ends by returning or throwing")
    }

    private func send(
        _ body: UploadBody, _ what: String, _ query: String, _ size: UInt64,
        to place: Assignment
    ) async throws(ClientError) {
        struct Reply: Decodable { var size: UInt64? }
        let server = address(place)
        let suffix = query.isEmpty ? "" : "?\(query)"
        var request = HTTPClientRequest(url: "http://\(server)/\(place.fid)\(suffix)")
        request.method = .POST
        request.headers.add(name: "Content-Type", value: body.contentType)
        if let token = place.token { request.headers.add(name: "Authorization", value: token) }
        request.body = .stream(body, length: .known(Int64(body.length)))
        let answer = try await cluster.ask(what, request, of: server)
        switch answer.status {
        case 201, 200:
            let found = answer.decoded(Reply.self)?.size ?? 0
            guard found == size else {
                throw .malformed(
                    what: what, address: server,
                    why: "\(found) bytes were stored as \(place.fid), expected \(size)")
            }
        case 204: break
        default:
            throw .refused(
                what: what, address: server, status: answer.status, text: answer.complaint)
        }
    }

    // MARK: Chunks

    private struct Chunk: Sendable {
        var fid: String
        var offset: UInt64
        var size: UInt64
    }

    private func storeChunked(
        _ file: SourceFile, _ chunkBytes: UInt64, at first: Assignment?
    ) async throws(ClientError) -> Assignment {
        let (chunks, failure) = await storeChunks(file, chunkBytes)
        do throws(ClientError) {
            if let failure { throw failure }
            let manifest = ByteBuffer(bytes: Uploader.manifest(of: file, chunks))
            let body = UploadBody(
                .bytes(manifest), name: file.name, mime: "application/json")
            return try await store(
                body, "uploading the manifest of \(file.path)", "cm=true&ts=\(file.modified)",
                UInt64(manifest.readableBytes), first)
        } catch {
            await discard(chunks)
            throw error
        }
    }

    private func storeChunks(
        _ file: SourceFile, _ chunkBytes: UInt64
    ) async -> (chunks: [Chunk], failure: ClientError?) {
        await withTaskGroup(of: Result<Chunk, ClientError>.self) { group in
            var offset: UInt64 = 0
            var number = 1
            func startOne() {
                guard offset < file.size else { return }
                let range = offset..<min(file.size, offset + chunkBytes)
                let name = "\(file.name)-\(number)"
                group.addTask { await storeChunk(file, range, name) }
                offset = range.upperBound
                number += 1
            }
            for _ in 0..<Uploader.parallelChunks { startOne() }
            var chunks: [Chunk] = []
            var failure: ClientError?
            while let result = await group.next() {
                switch result {
                case .success(let chunk): chunks.append(chunk)
                case .failure(let error): failure = failure ?? error
                }
                if failure == nil { startOne() }
            }
            return (chunks.sorted { $0.offset < $1.offset }, failure)
        }
    }

    private func storeChunk(
        _ file: SourceFile, _ range: Range<UInt64>, _ name: String
    ) async -> Result<Chunk, ClientError> {
        let size = range.upperBound - range.lowerBound
        let body = UploadBody(
            .file(file, range), name: name, mime: "application/octet-stream")
        let what = "uploading bytes \(range.lowerBound) to \(range.upperBound) of \(file.path)"
        do throws(ClientError) {
            let place = try await store(body, what, "", size, nil)
            return .success(Chunk(fid: place.fid, offset: range.lowerBound, size: size))
        } catch {
            return .failure(error)
        }
    }

    private static func manifest(of file: SourceFile, _ chunks: [Chunk]) -> [UInt8] {
        var json = JSONWriter()
        json.object {
            $0.field("name", file.name)
            $0.field("size", file.size)
            $0.key("chunks")
            $0.array { list in
                for chunk in chunks {
                    list.object {
                        $0.field("fid", chunk.fid)
                        $0.field("offset", chunk.offset)
                        $0.field("size", chunk.size)
                    }
                }
            }
        }
        return json.bytes
    }

    /// Chunks of a file that was not stored are of no use to anybody.
    private func discard(_ chunks: [Chunk]) async {
        for chunk in chunks {
            do throws(ClientError) {
                _ = try await cluster.delete(chunk.fid)
            } catch {
                Terminal.error("weed: the chunk \(chunk.fid) is left over: \(error)")
            }
        }
    }
}

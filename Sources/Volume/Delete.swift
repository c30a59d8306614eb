import HTTPServer
import Model
import NIOCore
import NIOPosix
import Needles
import Wire

extension VolumeService {
    /// Answers DELETE of a file; a chunk manifest's chunks are deleted before it.
    func delete(_ request: HTTPRequest, _ exchange: Exchange, _ id: FileID) {
        let isReplicate = request.hasQuery && request.query["type"] == "replicate"
        guard let volume = store.volume(id.volume) else {
            return forwardDelete(request, exchange, id)
        }
        // Who asks for a replica's delete has seen to the chunks.
        guard !isReplicate else {
            return deleteNeedle(request, exchange, id, volume, isReplicate: true)
        }
        let outcome: ReadOutcome
        do {
            outcome = try volume.readCached(id.key, cookie: id.cookie)
        } catch {
            // What cannot be read can still be deleted.
            return deleteNeedle(request, exchange, id, volume)
        }
        switch outcome {
        case .found(let needle) where needle.isChunkManifest:
            deleteManifest(request, exchange, id, volume, needle)
        case .found, .notFound: deleteNeedle(request, exchange, id, volume)
        case .wouldBlock:
            diskPool.submit { state in
                let manifest = state == .active ? VolumeService.manifest(id, volume) : nil
                exchange.hop {
                    guard let manifest else {
                        return self.deleteNeedle(request, exchange, id, volume)
                    }
                    self.deleteManifest(request, exchange, id, volume, manifest)
                }
            }
        }
    }

    /// A chunk manifest; `nil` for what is none, of which no more than the flags are read.
    private static func manifest(_ id: FileID, _ volume: Volume) -> StoredNeedle? {
        guard (try? volume.isChunkManifest(id.key, cookie: id.cookie)) == true else { return nil }
        return (try? volume.read(id.key, cookie: id.cookie)) ?? nil
    }

    private func deleteNeedle(
        _ request: HTTPRequest, _ exchange: Exchange, _ id: FileID, _ volume: Volume,
        isReplicate: Bool = false
    ) {
        deleteEverywhere(id, volume, isReplicate: isReplicate, on: exchange.eventLoop) { result in
            self.deleted(request, exchange, result)
        }
    }

    /// Answers with the size deleted, or with why nothing was.
    func deleted(
        _ request: HTTPRequest, _ exchange: Exchange, _ result: Result<UInt64, ChangeError>
    ) {
        let size: UInt64
        switch result {
        case .success(let deleted):
            counters.count(counters.deletes)
            size = deleted
        case .failure(.local(.notFound)), .failure(.local(.noVolume)): size = 0
        case .failure(.local(.cookieMismatch)):
            return respond(exchange, to: request, 400, error: VolumeService.wrongCookie)
        case .failure(.local(.overloaded)), .failure(.busy):
            let text = if case .failure(let error) = result { error.description } else { "" }
            return respond(exchange, to: request, 503, error: text, retryAfter: 1)
        case .failure(let error):
            counters.count(counters.failures)
            return respond(exchange, to: request, 500, error: "Deletion Failed: \(error)")
        }
        var json = JSONWriter(pretty: request.wantsPretty)
        json.object { $0.field("size", size) }
        let isDone = if case .success = result { true } else { false }
        respond(exchange, to: request, isDone ? 202 : 404, json: json)
    }

    static let wrongCookie = "File Random Cookie does not match."

    private func deleteManifest(
        _ request: HTTPRequest, _ exchange: Exchange, _ id: FileID, _ volume: Volume,
        _ needle: StoredNeedle
    ) {
        let chunks = ChunksAnywhere(service: self)
        Task {
            let result = await ManifestDeletion.run(needle, pool: diskPool, chunks: chunks)
            let answer: @Sendable () -> Void
            switch result {
            case .failure(let error):
                answer = { self.respond(exchange, to: request, 500, error: error.description) }
            case .success(let size):
                let outcome = await deleteAnywhere(id)
                answer = { self.deleted(request, exchange, outcome.map { _ in size }) }
            }
            exchange.hop(answer)
        }
    }
}

import HTTPServer
import Model
import NIOCore
import NIOPosix
import Needles
import Wire

extension VolumeService {
    /// Answers DELETE of a file; a chunk manifest's chunks are deleted before it.
    func delete(_ request: HTTPRequest, _ exchange: Exchange, _ id: FileID) {
        guard let volume = store.volume(id.volume) else {
            return deleted(request, exchange, .failure(.noVolume(id.volume)))
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
                let needle =
                    state == .active ? (try? volume.read(id.key, cookie: id.cookie)) ?? nil : nil
                exchange.hop {
                    guard let needle, needle.isChunkManifest else {
                        return self.deleteNeedle(request, exchange, id, volume)
                    }
                    self.deleteManifest(request, exchange, id, volume, needle)
                }
            }
        }
    }

    private func deleteNeedle(
        _ request: HTTPRequest, _ exchange: Exchange, _ id: FileID, _ volume: Volume
    ) {
        volume.delete(id.key, cookie: id.cookie) { result in
            exchange.hop {
                self.deleted(request, exchange, result.map(UInt64.init))
            }
        }
    }

    /// Answers with the size deleted, or with why nothing was.
    private func deleted(
        _ request: HTTPRequest, _ exchange: Exchange, _ result: Result<UInt64, NeedleError>
    ) {
        let size: UInt64
        switch result {
        case .success(let deleted):
            counters.count(counters.deletes)
            size = deleted
        case .failure(.notFound), .failure(.noVolume): size = 0
        case .failure(.cookieMismatch):
            return respond(exchange, to: request, 400, error: VolumeService.wrongCookie)
        case .failure(.overloaded(let id)):
            return respond(
                exchange, to: request, 503, error: NeedleError.overloaded(id).description,
                retryAfter: 1)
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
        let chunks = LocalChunks(store: store)
        Task {
            let result = await ManifestDeletion.run(needle, pool: diskPool, chunks: chunks)
            let answer: @Sendable () -> Void
            switch result {
            case .failure(let error):
                answer = { self.respond(exchange, to: request, 500, error: error.description) }
            case .success(let size):
                let outcome = await volume.deleteNeedle(id.key, cookie: id.cookie)
                answer = { self.deleted(request, exchange, outcome.map { _ in size }) }
            }
            exchange.hop(answer)
        }
    }
}

extension Volume {
    /// Deletes a needle and waits until that is durable.
    func deleteNeedle(_ key: NeedleKey, cookie: UInt32) async -> Result<UInt32, NeedleError> {
        await withCheckedContinuation { continuation in
            delete(key, cookie: cookie) { continuation.resume(returning: $0) }
        }
    }
}

import FoundationEssentials
public import GRPCCore
import Model
import NIOPosix
import Needles
import SwiftProtobuf
public import WireMessages

extension VolumeRPCService {
    /// Most ids of one request.
    static let deletesPerRequest = 100_000
    /// Deletes of one request under way at once: they share syncs.
    static let deletesAtOnce = 64

    /// Deletes many files here, and tells of each what came of it.
    public func batchDelete(
        request: VolumeServerPb_BatchDeleteRequest, context: ServerContext
    ) async throws -> VolumeServerPb_BatchDeleteResponse {
        let ids = request.fileIds
        guard ids.count <= VolumeRPCService.deletesPerRequest else {
            throw RPCError(
                code: .invalidArgument,
                message: "\(ids.count) ids in one request: "
                    + "at most \(VolumeRPCService.deletesPerRequest) are taken")
        }
        let skipsCookie = request.skipCookieCheck
        var results = [VolumeServerPb_DeleteResult](repeating: .init(), count: ids.count)
        await withTaskGroup(of: (Int, VolumeServerPb_DeleteResult).self) { group in
            for (index, text) in ids.enumerated() {
                if index >= VolumeRPCService.deletesAtOnce, let (done, result) = await group.next()
                {
                    results[done] = result
                }
                group.addTask { (index, await self.deleteOne(text, skipsCookie: skipsCookie)) }
            }
            for await (done, result) in group { results[done] = result }
        }
        let all = results
        return .with { $0.results = all }
    }

    private func deleteOne(
        _ text: String, skipsCookie: Bool
    ) async -> VolumeServerPb_DeleteResult {
        var result = VolumeServerPb_DeleteResult()
        result.fileID = text
        do {
            let id: FileID
            do {
                id = try FileID(text)
            } catch {
                throw DeleteRefusal(status: 400, text: "\(error)")
            }
            guard let volume = service.store.volume(id.volume) else {
                let text = "\(NeedleError.noVolume(id.volume))"
                throw DeleteRefusal(status: skipsCookie ? 500 : 404, text: text)
            }
            let cookie =
                skipsCookie
                ? try await storedCookie(id, volume) : try await checkedCookie(id, volume)
            result.size = try await delete(id, cookie: cookie, volume)
            result.status = 202
            service.counters.count(service.counters.deletes)
        } catch {
            let refusal = error as? DeleteRefusal
            result.status = refusal?.status ?? 500
            result.error = refusal?.text ?? "\(error)"
        }
        return result
    }

    private struct DeleteRefusal: Error {
        var status: Int32
        var text = ""
    }

    private func delete(
        _ id: FileID, cookie: UInt32, _ volume: Volume
    ) async throws -> UInt32 {
        switch await volume.deleteNeedle(id.key, cookie: cookie) {
        case .success(let size): return size
        case .failure(.notFound): throw DeleteRefusal(status: 304)
        case .failure(.cookieMismatch):
            throw DeleteRefusal(status: 400, text: VolumeService.wrongCookie)
        case .failure(let error): throw DeleteRefusal(status: 500, text: "\(error)")
        }
    }

    private func storedCookie(_ id: FileID, _ volume: Volume) async throws -> UInt32 {
        let found = try await service.diskPool.runIfActive { try volume.cookie(of: id.key) }
        guard let found else { throw DeleteRefusal(status: 304) }
        return found.cookie
    }

    /// The cookie asked for, if the file is there with it and is no list of other files.
    private func checkedCookie(_ id: FileID, _ volume: Volume) async throws -> UInt32 {
        let (found, isManifest) = try await service.diskPool.runIfActive {
            let found = try volume.cookie(of: id.key)
            guard found?.cookie == id.cookie else { return (found, false) }
            // what cannot be read can still be deleted
            let needle = try? volume.read(id.key, cookie: id.cookie)
            return (found, needle?.isChunkManifest ?? false)
        }
        guard let found else {
            throw DeleteRefusal(
                status: 404, text: "\(NeedleError.notFound(id.volume, id.key))")
        }
        guard found.cookie == id.cookie else {
            throw DeleteRefusal(status: 400, text: VolumeService.wrongCookie)
        }
        guard !isManifest else {
            throw DeleteRefusal(
                status: 406, text: "ChunkManifest: not allowed in batch delete mode.")
        }
        return found.cookie
    }

    /// The record at an offset, as it lies on disk.
    public func readNeedleBlob(
        request: VolumeServerPb_ReadNeedleBlobRequest, context: ServerContext
    ) async throws -> VolumeServerPb_ReadNeedleBlobResponse {
        guard let offset = UInt64(exactly: request.offset),
            let size = UInt32(exactly: request.size)
        else {
            throw RPCError(
                code: .invalidArgument,
                message: "offset \(request.offset) and size \(request.size) must not be negative")
        }
        let id = request.volumeID
        let bytes = try await run(on: service.diskPool) { store in
            try VolumeRPCService.volume(
                id, store,
                otherwise: RPCError(code: .unknown, message: "not found volume id \(id)")
            ).rawRecord(at: offset, size: size)
        }
        return .with { $0.needleBlob = Data(bytes) }
    }
}

extension Volume {
    /// Deletes a needle and waits until that is durable.
    fileprivate func deleteNeedle(
        _ key: NeedleKey, cookie: UInt32
    ) async -> Result<UInt32, NeedleError> {
        await withCheckedContinuation { continuation in
            delete(key, cookie: cookie) { continuation.resume(returning: $0) }
        }
    }
}

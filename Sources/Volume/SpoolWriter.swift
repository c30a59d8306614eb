import HTTPServer
import NIOCore
import NIOPosix
import Needles

/// Collects one file: in memory at first, then in a spool that disk threads write.
///
/// One job is at the disk at a time; what arrives meanwhile goes with the next.
final class SpoolWriter: @unchecked Sendable {
    // `@unchecked`: used on the exchange's event loop only; `desk` is handed to one disk job at a
    // time and not touched while it is there.

    /// What a disk job works on.
    private final class Desk: @unchecked Sendable {
        // `@unchecked`: used by one disk job at a time, and by the event loop when there is none.
        var spool: Spool?
        var digest: UploadDigest?

        init(isGzip: Bool, needsMD5: Bool) {
            if isGzip || needsMD5 { digest = UploadDigest(isGzip: isGzip, needsMD5: needsMD5) }
        }

        func write(_ pieces: [ByteBuffer], _ volume: Volume) throws(NeedleError) {
            let spool: Spool
            if let open = self.spool {
                spool = open
            } else {
                spool = try volume.makeSpool()
                self.spool = spool
            }
            for piece in pieces {
                try spool.append(piece)
                digest?.update(piece)
            }
        }
    }

    private let context: UploadContext
    private let headers: MultipartHeaders
    private let desk: Desk
    /// Pieces smaller than this are copied together.
    private static let copyBytes = 4 << 10
    private var waiting: [ByteBuffer] = []
    private var endsInCopy = false
    /// Bytes that no disk job has taken yet.
    private(set) var waitingBytes = 0
    /// Bytes received in all.
    private(set) var total: UInt64 = 0
    private var usesSpool = false
    /// Whether a disk job is under way.
    private(set) var isAtDisk = false
    private var isDiscarded = false
    private var onFinish: ((Result<UploadedFile, NeedleError>) -> Void)?

    init(_ context: UploadContext, headers: MultipartHeaders) {
        self.context = context
        self.headers = headers
        let needsMD5 = !headers.contentMD5.isEmpty || !context.head.contentMD5.isEmpty
        desk = Desk(isGzip: headers.isGzip, needsMD5: needsMD5)
    }

    /// Adds bytes; `wrote` is called when the disk took some, or when it would not.
    func append(_ bytes: ByteBuffer, _ wrote: @escaping (Result<Void, NeedleError>) -> Void) {
        guard !isDiscarded else { return }
        keep(bytes)
        waitingBytes += bytes.readableBytes
        total += UInt64(bytes.readableBytes)
        guard usesSpool || waitingBytes > UploadStream.memoryBytes else { return }
        usesSpool = true
        writeWaiting(wrote)
    }

    /// Small pieces are copied together: each would keep the whole buffer alive that it was
    /// received in.
    private func keep(_ bytes: ByteBuffer) {
        guard bytes.readableBytes < SpoolWriter.copyBytes else {
            endsInCopy = false
            return waiting.append(bytes)
        }
        if endsInCopy, let last = waiting.indices.last {
            waiting[last].writeImmutableBuffer(bytes)
        } else {
            waiting.append(ByteBuffer(bytes: bytes.readableBytesView))
            endsInCopy = true
        }
    }

    /// Calls `completion` with the file once all of it is where it belongs.
    func finish(_ completion: @escaping (Result<UploadedFile, NeedleError>) -> Void) {
        guard !isDiscarded else { return }
        guard usesSpool else { return completion(.success(inMemory())) }
        onFinish = completion
        writeWaiting { _ in }
    }

    /// Forgets everything received.
    func discard() {
        isDiscarded = true
        waiting = []
        waitingBytes = 0
        onFinish = nil
        guard !isAtDisk, desk.spool != nil else { return }
        let desk = desk
        // Closing a large file without a name frees its blocks, which takes time.
        context.service.diskPool.submit { _ in desk.spool = nil }
    }

    private func inMemory() -> UploadedFile {
        var whole = waiting.first ?? ByteBuffer()
        for piece in waiting.dropFirst() { whole.writeImmutableBuffer(piece) }
        return UploadedFile(headers: headers, body: .bytes(whole), digest: nil)
    }

    private func writeWaiting(_ wrote: @escaping (Result<Void, NeedleError>) -> Void) {
        guard !isAtDisk else { return }
        guard !waiting.isEmpty else { return complete() }
        let pieces = waiting
        waiting = []
        waitingBytes = 0
        endsInCopy = false
        isAtDisk = true
        let notify = NIOLoopBound(wrote, eventLoop: context.exchange.eventLoop)
        let (desk, volume, context) = (desk, context.volume, context)
        context.service.diskPool.submit { state in
            let result: Result<Void, NeedleError>
            do throws(NeedleError) {
                guard state == .active else { throw .closed(volume.id) }
                try desk.write(pieces, volume)
                result = .success(())
            } catch {
                result = .failure(error)
            }
            context.hop { self.written(result, notify.value) }
        }
    }

    private func written(
        _ result: Result<Void, NeedleError>, _ wrote: @escaping (Result<Void, NeedleError>) -> Void
    ) {
        isAtDisk = false
        guard !isDiscarded else {
            discard()
            return
        }
        if case .failure(let error) = result {
            let onFinish = onFinish
            discard()
            guard let onFinish else { return wrote(.failure(error)) }
            return onFinish(.failure(error))
        }
        writeWaiting(wrote)
        wrote(.success(()))
    }

    private func complete() {
        guard let onFinish, let spool = desk.spool else { return }
        self.onFinish = nil
        let digest = desk.digest.take()?.finish()
        onFinish(
            .success(UploadedFile(headers: headers, body: .spool(spool), digest: digest)))
    }
}

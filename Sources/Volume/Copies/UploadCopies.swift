import HTTPClient
import HTTPServer
import Model
import NIOCore
import Needles
import Platform

extension VolumeService {
    /// What clients hear while the same file is being changed through another server.
    static let isBusy = "the file is being changed through another server, try again"
}

extension UploadContext {
    /// Writes a file here and to the other holders at the same time.
    ///
    /// Called on the event loop.
    func writeEverywhere(_ upload: PreparedUpload) {
        let begin = service.copies.ledger.begin(head.fileID) { slot in
            self.hop { self.distribute(upload, slot) }
        }
        switch begin {
        case .started(let slot): distribute(upload, slot)
        case .waiting: break
        case .refused(let reason): refuseBusy(reason)
        }
    }

    /// Answers an upload that has to be tried again.
    ///
    /// Called on the event loop.
    func refuseBusy(_ reason: String) {
        service.counters.count(service.counters.failures)
        service.respond(exchange, to: request, 503, error: reason, retryAfter: 1)
        service.budget.release(reserved)
    }

    private func distribute(_ upload: PreparedUpload, _ slot: Int) {
        let id = head.fileID
        let distribution = Distribution<WriteReceipt>(holders: holders.count) { outcome in
            self.distributed(upload, slot, outcome)
        }
        let bound = NIOLoopBound(distribution, eventLoop: exchange.eventLoop)
        // The disk works while the requests are on their way.
        volume.write(id.key, cookie: id.cookie, upload.content, forceSync: head.forcesSync) {
            result in
            self.hop { bound.value.finishLocal(result) }
        }
        let checksum =
            switch upload.content.body {
            case .bytes(let bytes): CRC32C.checksum(bytes.readableBytesSpan)
            case .spool(let spool): spool.checksum
            }
        let message = CopyMessage(upload, head: head, checksum: checksum)
        let token = service.changeToken(id)
        for holder in holders {
            distribution.send(
                message.request(to: holder, token: token, pool: service.diskPool),
                service.copies.client, on: exchange.eventLoop
            ) { message.problem($0) }
        }
    }

    private func distributed(
        _ upload: PreparedUpload, _ slot: Int, _ outcome: Distribution<WriteReceipt>.Outcome
    ) {
        let ledger = service.copies.ledger
        let id = head.fileID
        if !outcome.failures.isEmpty { service.copies.holders.doubt(id.volume) }
        guard outcome.leavesDebt else {
            ledger.end(id, slot)
            return answer(upload, outcome.local, problem: nil)
        }
        let (local, text) = (outcome.local, outcome.text)
        // The client may hear of it only when it will not be forgotten.
        ledger.owe(id) {
            ledger.end(id, slot)
            self.hop { self.answer(upload, local, problem: text) }
        }
    }

    private func answer(
        _ upload: PreparedUpload, _ local: Result<WriteReceipt, NeedleError>, problem: String?
    ) {
        switch local {
        case .failure(let error): fail(error)
        case .success(let receipt):
            guard let problem else { return answer(upload, receipt) }
            service.counters.count(service.counters.failures)
            service.respond(
                exchange, to: request, 500,
                error: "failed to write to replicas for volume \(volume.id): \(problem)")
            service.budget.release(reserved)
        }
    }
}

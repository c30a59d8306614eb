import HTTPServer
internal import Model
internal import NIOCore
internal import Needles

/// Fetches files from other servers on behalf of a client.
protocol ReadForwarder: Sendable {
    /// Answers a read with what one of the servers `locations` (`host:port`) answers.
    ///
    /// One after the other is asked while none has the file; then `otherwise` is called, with
    /// whether a server failed to say. Called on the event loop.
    func forward(
        _ request: HTTPRequest, _ exchange: Exchange, fileID: FileID, to locations: [String],
        otherwise: @escaping (_ isUncertain: Bool) -> Void)
}

/// A volume is here, but its files cannot be used.
private struct VolumeUnusable: Error, CustomStringConvertible {
    let reason: String
    var description: String { "its volume cannot be used: \(reason)" }
}

/// Answers reads that this server cannot answer from its own disk.
enum ReadElsewhere {
    /// Answers a read of a volume that does not serve here: 404, or what another server has, as the
    /// read mode says.
    ///
    /// A request that another server sent here is never sent on, so stale locations cannot make it
    /// go round in circles.
    static func serve(
        _ request: HTTPRequest, _ exchange: Exchange, fileID: FileID, context: ReadContext
    ) {
        let ask = ReadRequest(request, urlName: nil)
        let job = ReadJob(
            request: request, ask: ask, exchange: exchange, fileID: fileID, context: context)
        let missing = missing(job)
        guard missing.status != 503, let holders = context.holders, context.readMode != .local,
            context.readMode == .redirect || context.forwarder != nil, !request.isFromServer
        else {
            job.send(missing)
            return
        }
        holders.find(fileID.volume, copies: 1, on: exchange.eventLoop) { result in
            switch result {
            case .success(let locations): answer(job, locations, else: missing)
            case .failure(let error):
                let reason = error.message(for: fileID.volume, copies: 1)
                context.failures.report(fileID, VolumeUnusable(reason: reason))
                job.send(missing.status == 404 ? .failure(503) : missing)
            }
        }
    }

    /// Asks the other holders for a file whose copy here is missing or damaged, and sends `failure`
    /// when none has it.
    ///
    /// `false`: there is nobody to ask.
    static func tryOthers(_ job: ReadJob, else failure: ReadAnswer) -> Bool {
        let context = job.context
        guard let holders = context.holders, let forwarder = context.forwarder,
            let volume = context.store.volume(job.fileID.volume), volume.replication.copies > 1,
            !job.request.isFromServer
        else { return false }
        holders.find(job.fileID.volume, copies: 1, on: job.exchange.eventLoop) { result in
            guard case .success(let locations) = result, !locations.isEmpty else {
                return job.send(failure)
            }
            forwarder.forward(
                job.request, job.exchange, fileID: job.fileID, to: locations.shuffled()
            ) { _ in job.send(failure) }
        }
        return true
    }

    /// What clients get when no other server has the volume.
    ///
    /// A volume that is here and cannot be used is not one that never was: nobody may conclude that
    /// its files do not exist.
    private static func missing(_ job: ReadJob) -> ReadAnswer {
        switch job.context.store.lookup(job.fileID.volume) {
        case .absent: return .failure(404)
        case .open, .opening:
            var answer = ReadAnswer.failure(503)
            answer.extras = [("Retry-After", "1")]
            return answer
        case .failed(let reason):
            job.context.failures.report(job.fileID, VolumeUnusable(reason: reason))
            return .failure(500)
        }
    }

    private static func answer(
        _ job: ReadJob, _ locations: [String], else missing: ReadAnswer
    ) {
        guard let target = locations.randomElement() else {
            job.send(missing)
            return
        }
        if job.context.readMode == .proxy, let forwarder = job.context.forwarder {
            forwarder.forward(
                job.request, job.exchange, fileID: job.fileID, to: locations.shuffled()
            ) { isUncertain in
                job.send(isUncertain && missing.status == 404 ? .failure(502) : missing)
            }
            return
        }
        let collection = job.ask.query?.collection ?? ""
        let url = location(of: job.fileID, at: target, collection: collection)
        job.exchange.respond(301, body: .empty) { headers in
            ReadAnswer().write(
                &headers, server: job.context.serverHeader, hasOrigin: job.ask.hasOrigin)
            headers.add("Location", url)
        }
    }

    /// The address of a file on another server; it says that this server sent the client there.
    static func location(of id: FileID, at server: String, collection: String) -> String {
        let part = collection.isEmpty ? "" : "collection=\(escape(collection))&"
        return "http://\(server)/\(id)?\(part)proxied=true"
    }

    /// Percent escapes for everything but letters, digits and `-._~`.
    private static func escape(_ text: String) -> String {
        let hex = Array("0123456789ABCDEF".utf8)
        var bytes: [UInt8] = []
        for byte in text.utf8 {
            switch byte {
            case 0x30...0x39, 0x41...0x5a, 0x61...0x7a, 0x2d, 0x2e, 0x5f, 0x7e: bytes.append(byte)
            default: bytes += [0x25, hex[Int(byte >> 4)], hex[Int(byte & 15)]]
            }
        }
        return String(decoding: bytes, as: UTF8.self)
    }
}

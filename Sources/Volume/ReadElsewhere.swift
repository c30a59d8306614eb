import HTTPServer
internal import Model
internal import NIOCore
internal import Needles
internal import Wire

/// Fetches files from other servers on behalf of a client.
protocol ReadForwarder: Sendable {
    /// Answers a read with what one of the servers `locations` (`host:port`, never empty) answers.
    /// Called on the event loop.
    func forward(
        _ request: HTTPRequest, _ exchange: Exchange, fileID: FileID, to locations: [String])
}

/// A volume is here, but its files cannot be used.
private struct VolumeUnusable: Error, CustomStringConvertible {
    let reason: String
    var description: String { "its volume cannot be used: \(reason)" }
}

/// Answers reads of volumes that do not serve on this server.
enum ReadElsewhere {
    /// Answers a read: 404, or what another server has, as the read mode says.
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
        guard missing.status != 503, let master = context.master, context.readMode != .local,
            context.readMode == .redirect || context.forwarder != nil,
            !(ask.query?.isProxied ?? false)
        else {
            job.send(missing)
            return
        }
        Task {
            let locations: [String]
            do {
                locations = try await master.locations(of: fileID.volume)
            } catch {
                context.failures.report(fileID, error)
                locations = []
            }
            exchange.eventLoop.execute { answer(job, locations, else: missing) }
        }
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
                job.request, job.exchange, fileID: job.fileID, to: locations.shuffled())
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

import HTTPServer
internal import Model
internal import NIOCore
internal import Wire

/// Fetches files from other servers on behalf of a client.
protocol ReadForwarder: Sendable {
    /// Answers a read with what one of the servers `locations` (`host:port`, never empty) answers.
    /// Called on the event loop.
    func forward(
        _ request: HTTPRequest, _ exchange: Exchange, fileID: FileID, to locations: [String])
}

/// Answers reads of volumes that this server does not have.
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
        guard let master = context.master, context.readMode != .local,
            context.readMode == .redirect || context.forwarder != nil,
            !(ask.query?.isProxied ?? false)
        else {
            job.send(.failure(404))
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
            exchange.eventLoop.execute { answer(job, locations) }
        }
    }

    private static func answer(_ job: ReadJob, _ locations: [String]) {
        guard let target = locations.randomElement() else {
            job.send(.failure(404))
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

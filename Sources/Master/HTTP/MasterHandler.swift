import HTTPServer
import Model
import NIOCore
import Wire

/// Answers a master's HTTP requests.
struct MasterHandler: RequestHandler {
    let core: MasterCore
    let whiteList: WhiteList
    /// The assign that has no parameters.
    let plainAssign: AssignRequest
    let upstream = UpstreamClient()

    init(core: MasterCore) {
        self.core = core
        whiteList = WhiteList(core.configuration.whiteList)
        plainAssign = AssignRequest(
            layout: LayoutKey(replication: core.configuration.defaultReplication))
    }

    func handle(_ request: HTTPRequest, _ exchange: Exchange) {
        let route = request.withPath { Route($0) }
        if route.isGuarded, let refusal = refusal(of: exchange) {
            return refusal.send(request, exchange)
        }
        if core.configuration.disableHTTP, !route.isAlwaysOn {
            return Reply.notFound.send(request, exchange)
        }
        switch route {
        case .assign: assign(request, exchange)
        case .lookup: lookup(request, exchange)
        case .submit: submit(request, exchange)
        case .file: redirect(request, exchange)
        case .unclean: clean(request, exchange)
        case .health, .favicon, .page, .clusterStatus, .clusterHealth, .ready, .unknown,
            .statsCounter, .statsMemory:
            simpleReply(route, request).send(request, exchange)
        case .status, .volumeStatus, .volumeGrow, .volumeVacuum, .volumeLookup, .collectionDelete,
            .collectionInfo, .delete:
            withParameters(request, exchange) { parameters in
                administer(route, parameters, request, exchange)
            }
        }
    }

    /// Why a client may not use the guarded paths; `nil` when it may.
    ///
    /// Without a white list only this machine may, unless everybody was let in on purpose.
    private func refusal(of exchange: Exchange) -> Reply? {
        if !whiteList.isEmpty {
            return whiteList.admits(exchange.remoteAddress) ? nil : Reply.empty(401)
        }
        let configuration = core.configuration
        if configuration.isInsecure || exchange.isFromLoopback
            || exchange.remoteAddress == configuration.advertisedHost
        {
            return nil
        }
        return Reply.error(
            401,
            "\(exchange.remoteAddress) may not use this: start the master with -whiteList naming "
                + "this client, or with -insecure, or ask from the master's own machine")
    }

    // MARK: Parameters

    /// Calls `body` with the parameters of query and body; at once, unless a form has to arrive.
    func withParameters(
        _ request: HTTPRequest, _ exchange: Exchange, _ body: @escaping (Parameters) -> Void
    ) {
        let parameters = Parameters(query: request.query)
        guard let form = Parameters.Form(request) else { return body(parameters) }
        exchange.readBody(limit: Parameters.formLimit) { result in
            switch result {
            case .success(let bytes):
                var parameters = parameters
                parameters.prepend(form.items(bytes))
                body(parameters)
            case .failure(let error):
                guard error.canAnswer else { return }
                Reply.error(400, "the form could not be read: \(error)").send(request, exchange)
            }
        }
    }

    /// Whether a request has neither query nor body.
    static func isBare(_ request: HTTPRequest) -> Bool {
        !request.hasQuery && !request.hasBody
    }

    // MARK: Assign

    private func assign(_ request: HTTPRequest, _ exchange: Exchange) {
        if MasterHandler.isBare(request) {
            return assign(plainAssign, pretty: false, request, exchange)
        }
        withParameters(request, exchange) { parameters in
            let wish: AssignRequest
            do throws(ParameterError) {
                wish = try parameters.assignRequest(core.configuration)
            } catch {
                return Reply.error(406, error.description, pretty: parameters.isPretty)
                    .send(request, exchange)
            }
            assign(wish, pretty: parameters.isPretty, request, exchange)
        }
    }

    private func assign(
        _ wish: AssignRequest, pretty: Bool, _ request: HTTPRequest, _ exchange: Exchange
    ) {
        if let assigned = core.assignNow(wish) {
            return send(assigned, pretty: pretty, request, exchange)
        }
        Task {
            do throws(AssignRefusal) {
                let assigned = try await core.assign(wish)
                exchange.eventLoop.execute { send(assigned, pretty: pretty, request, exchange) }
            } catch {
                Reply.refusal(error, pretty: pretty).sendLater(request, exchange)
            }
        }
    }

    private func send(
        _ assigned: Assigned, pretty: Bool, _ request: HTTPRequest, _ exchange: Exchange
    ) {
        guard !pretty, request.method != .head else {
            return Reply.json(pretty: pretty) {
                $0.object {
                    $0.field("fid", assigned.fid.description)
                    $0.field("url", assigned.target.url)
                    $0.field("publicUrl", assigned.target.publicURL)
                    $0.field("count", assigned.count)
                }
            }.send(request, exchange)
        }
        var buffer = exchange.allocator.buffer(capacity: 64 + assigned.target.fragment.count)
        buffer.writeStaticString("{\"fid\":\"")
        buffer.write(assigned.fid)
        buffer.writeBytes(assigned.target.fragment)
        buffer.write(decimal: assigned.count)
        buffer.writeInteger(0x7d as UInt8)
        sendJSON(buffer, exchange)
    }

    /// Sends JSON that is in a buffer already.
    func sendJSON(_ buffer: ByteBuffer, _ exchange: Exchange) {
        exchange.respond(200, body: .bytes(buffer)) { headers in
            headers.add("Content-Type", Reply.json)
            headers.add("X-Content-Type-Options", "nosniff")
        }
    }

    // MARK: Paths

    /// Sends the client to the path without empty segments.
    private func clean(_ request: HTTPRequest, _ exchange: Exchange) {
        var path = ""
        for segment in request.path.split(separator: "/") { path += "/\(segment)" }
        if path.isEmpty { path = "/" }
        if request.hasQuery { path += "?\(request.rawQuery)" }
        Reply(status: 301, location: path).send(request, exchange)
    }
}

extension Reply {
    /// The answer to an assign that could not be met.
    static func refusal(_ refusal: AssignRefusal, pretty: Bool) -> Reply {
        var reply = Reply.error(503, refusal.description, pretty: pretty)
        switch refusal {
        case .noFreeSlots: reply.status = 406
        case .growing, .overloaded, .log(.overloaded): reply.retryAfter = 1
        case .warmingUp(let seconds): reply.retryAfter = seconds
        case .log(.storage): reply.status = 500
        }
        return reply
    }
}

extension ByteBuffer {
    /// Writes a file id as `3,01637037d6`.
    mutating func write(_ fid: FileID) {
        write(decimal: UInt64(fid.volume))
        // a comma, a key of up to 16 digits, a cookie of 8
        var text = [25 of UInt8](repeating: 0x2c)
        var count = 1
        var shift = max(0, (63 - fid.key.leadingZeroBitCount) / 8 * 8)
        while shift >= 0 {
            let byte = UInt8(truncatingIfNeeded: fid.key >> UInt64(shift))
            text[count] = ByteBuffer.digit(byte >> 4)
            text[count + 1] = ByteBuffer.digit(byte & 15)
            count += 2
            shift -= 8
        }
        shift = 28
        while shift >= 0 {
            text[count] = ByteBuffer.digit(
                UInt8(truncatingIfNeeded: fid.cookie >> UInt32(shift)) & 15)
            count += 1
            shift -= 4
        }
        unsafe writeBytes(text.span.extracting(0..<count).bytes)
    }

    /// Writes a number in digits.
    mutating func write(decimal number: UInt64) {
        var text = [20 of UInt8](repeating: 0x30)
        var start = 20
        var rest = number
        repeat {
            start -= 1
            text[start] = 0x30 + UInt8(truncatingIfNeeded: rest % 10)
            rest /= 10
        } while rest > 0
        unsafe writeBytes(text.span.extracting(start..<20).bytes)
    }

    /// The lower-case digit of a value below 16.
    private static func digit(_ value: UInt8) -> UInt8 {
        value < 10 ? 0x30 + value : 0x57 + value
    }
}

import HTTPServer
import Model
import NIOCore
import Synchronization
import Wire

/// What looking a volume up gave.
enum LookupOutcome {
    /// The list of locations, JSON.
    case found([UInt8])
    case missing
    case warmingUp(seconds: Int)
}

extension MasterCore {
    /// Finds a volume's servers; `collection` "" takes any.
    func lookUp(_ volume: VolumeID, collection: String = "") -> LookupOutcome {
        shared.withLock { shared in
            shared.lookedUp &+= 1
            if let entry = shared.topology.volumes[volume] {
                let owner = shared.topology.layouts[entry.layout].key.collection
                if collection.isEmpty || owner == collection { return .found(entry.locations) }
            }
            return shared.warmUp.secondsLeft(now: .now).map { .warmingUp(seconds: $0) } ?? .missing
        }
    }

    /// The public address of one of a volume's servers, at random.
    func publicURL(of volume: VolumeID) -> String? {
        shared.withLock { shared in
            shared.topology.volumes[volume]?.holders.randomElement(using: &shared.picks)
                .flatMap { shared.topology.servers[$0]?.publicURL }
        }
    }
}

extension MasterHandler {
    func lookup(_ request: HTTPRequest, _ exchange: Exchange) {
        if request.method == .get, !request.hasBody,
            let (text, volume) = MasterHandler.plainVolume(request.rawQuery),
            case .found(let locations) = core.lookUp(volume)
        {
            var buffer = exchange.allocator.buffer(capacity: 64 + locations.count)
            buffer.writeStaticString("{\"volumeOrFileId\":\"")
            buffer.writeSubstring(text)
            buffer.writeStaticString("\",\"volumeId\":\"")
            buffer.writeSubstring(text)
            buffer.writeStaticString("\",\"locations\":")
            buffer.writeBytes(locations)
            buffer.writeInteger(0x7d as UInt8)
            return sendJSON(buffer, exchange)
        }
        withParameters(request, exchange) { parameters in
            lookupReply(parameters).send(request, exchange)
        }
    }

    /// The number in a query that is just `volumeId=<digits>`.
    private static func plainVolume(_ query: String) -> (Substring, VolumeID)? {
        guard query.utf8.starts(with: "volumeId=".utf8) else { return nil }
        let text = query[query.utf8.index(query.startIndex, offsetBy: 9)...]
        var value: UInt64 = 0
        guard !text.isEmpty, text.utf8.count < 19 else { return nil }
        for byte in text.utf8 {
            guard byte >= 0x30, byte <= 0x39 else { return nil }
            value = value * 10 + UInt64(byte - 0x30)
        }
        return (text, VolumeID(truncatingIfNeeded: value))
    }

    private func lookupReply(_ parameters: Parameters) -> Reply {
        let asked = parameters["fileId"].isEmpty ? parameters["volumeId"] : parameters["fileId"]
        let text = MasterHandler.volumePart(asked)
        let (status, retryAfter, write) = lookupAnswer(text, collection: parameters["collection"])
        var reply = Reply.json(status, pretty: parameters.isPretty, write)
        reply.retryAfter = retryAfter
        return reply
    }

    /// `/vol/lookup`: several volumes at once, answered by number.
    func volumeLookup(_ parameters: Parameters) -> Reply {
        let asked = Set(parameters.all("volumeId").map(MasterHandler.volumePart)).sorted()
        return .json(pretty: parameters.isPretty) {
            $0.object {
                for text in asked {
                    $0.key(text)
                    lookupAnswer(text, collection: parameters["collection"]).write(&$0)
                }
            }
        }
    }

    /// The volume of `3,01637037d6`, as given.
    private static func volumePart(_ text: String) -> String {
        String(text.prefix { $0 != "," })
    }

    private func lookupAnswer(
        _ text: String, collection: String
    ) -> (status: Int, retryAfter: Int?, write: (inout JSONWriter) -> Void) {
        func named(_ json: inout JSONWriter, _ body: (inout JSONWriter) -> Void) {
            json.object {
                if !text.isEmpty {
                    $0.field("volumeOrFileId", text)
                    $0.field("volumeId", text)
                }
                body(&$0)
            }
        }
        func refused(_ error: String) -> (inout JSONWriter) -> Void {
            { json in named(&json) { $0.field("error", error) } }
        }
        guard let volume = MasterHandler.volumeID(text) else {
            return (404, nil, refused("unknown volume id \(text)"))
        }
        switch core.lookUp(volume, collection: collection) {
        case .found:
            return (
                200, nil,
                { json in
                    named(&json) { inner in
                        inner.key("locations")
                        core.shared.withLock { shared in
                            if let entry = shared.topology.volumes[volume] {
                                shared.topology.writeLocations(entry, to: &inner)
                            } else {
                                inner.array { _ in }
                            }
                        }
                    }
                }
            )
        case .missing: return (404, nil, refused("volume id \(text) not found"))
        case .warmingUp(let seconds):
            return (503, seconds, refused("service warming up, please retry"))
        }
    }

    /// A decimal volume number, cut to 32 bits.
    static func volumeID(_ text: String) -> VolumeID? {
        guard !text.isEmpty, text.utf8.allSatisfy({ $0 >= 0x30 && $0 <= 0x39 }) else { return nil }
        return UInt64(text).map { VolumeID(truncatingIfNeeded: $0) }
    }

    /// `/{fid}`: sends the client to a server that has the volume.
    func redirect(_ request: HTTPRequest, _ exchange: Exchange) {
        let path = request.path
        let text = MasterHandler.redirectVolume(path)
        guard let volume = MasterHandler.volumeID(text) else {
            return Reply.error(404, "volume id \(text) not found: unknown volume id \(text)")
                .send(request, exchange)
        }
        switch core.lookUp(volume, collection: request.query["collection"] ?? "") {
        case .found:
            guard let url = core.publicURL(of: volume) else { fallthrough }
            let target = "http://\(url)\(path)" + (request.hasQuery ? "?\(request.rawQuery)" : "")
            var reply = Reply(status: 308, location: target)
            if request.method == .get || request.method == .head {
                reply.contentType = Reply.html
                reply.body = Array(
                    "<a href=\"\(StatusPage.escape(target))\">Permanent Redirect</a>.\n\n".utf8)
            }
            reply.send(request, exchange)
        case .missing:
            Reply.error(404, "volume id \(text) not found: volume id \(text) not found")
                .send(request, exchange)
        case .warmingUp(let seconds):
            var reply = Reply.error(503, "service warming up, please retry")
            reply.retryAfter = seconds
            reply.send(request, exchange)
        }
    }

    /// The volume in `/3,01637037d6.jpg` or `/3`.
    private static func redirectVolume(_ path: String) -> String {
        let segment = path.dropFirst()
        let bytes = Array(segment.utf8)
        if let comma = FileID.comma(in: bytes.span) {
            return String(decoding: bytes[..<comma.lowerBound], as: UTF8.self)
        }
        return String(segment.prefix { $0 != "." })
    }
}

import FoundationEssentials
import HTTPServer
import Model
import NIOCore
import Wire

/// What a volume server says of an upload or delete.
private struct UploadAnswer: Decodable {
    var name: String?
    var size: UInt64?
    var eTag: String?
    var error: String?

    init(_ answer: UpstreamAnswer) {
        self = (try? JSONDecoder().decode(UploadAnswer.self, from: Data(answer.body))) ?? .init()
    }

    private init() {}
}

extension MasterHandler {
    /// Bytes of a submitted body.
    static let submitLimit: UInt64 = 256 << 20
    /// Files deleted by one request.
    static let deleteLimit = 1000

    /// `/submit`: assigns a file id and passes the body on to its volume server.
    func submit(_ request: HTTPRequest, _ exchange: Exchange) {
        guard request.method == .post else {
            return Reply.error(405, "Only submit via POST!").send(request, exchange)
        }
        let parameters = Parameters(query: request.query)
        let pretty = parameters.isPretty
        let wish: AssignRequest
        do throws(ParameterError) {
            let count = parameters["count"]
            guard count.isEmpty || UInt64(count) != nil else {
                throw ParameterError(
                    description: "strconv.ParseUint: parsing \"\(count)\": invalid syntax")
            }
            wish = try parameters.assignRequest(core.configuration)
        } catch {
            return Reply.error(400, error.description, pretty: pretty).send(request, exchange)
        }
        if request.contentLength ?? 0 > MasterHandler.submitLimit {
            return MasterHandler.tooLarge(pretty).send(request, exchange)
        }
        if let assigned = core.assignNow(wish) {
            return passOn(assigned, parameters, request, exchange)
        }
        Task {
            do throws(AssignRefusal) {
                let assigned = try await core.assign(wish)
                exchange.eventLoop.execute { passOn(assigned, parameters, request, exchange) }
            } catch {
                Reply.error(500, error.description, pretty: pretty).sendLater(request, exchange)
            }
        }
    }

    private static func tooLarge(_ pretty: Bool) -> Reply {
        .error(400, "file over the limited \(submitLimit) bytes", pretty: pretty)
    }

    private func passOn(
        _ assigned: Assigned, _ parameters: Parameters, _ request: HTTPRequest, _ exchange: Exchange
    ) {
        let fid = assigned.fid.description
        let isRaw = !(request.header("content-type") ?? "").isMultipart
        let isChunked = request.contentLength == nil && request.isChunked
        let head = UpstreamClient.head(
            "POST", "/\(fid)" + MasterHandler.uploadQuery(parameters), assigned.target.url,
            headers: MasterHandler.uploadHeaders(request, isRaw: isRaw, isChunked: isChunked))
        let pretty = parameters.isPretty
        upstream.forward(
            exchange, limit: MasterHandler.submitLimit, to: assigned.target.url, head: head,
            isChunked: isChunked
        ) { result in
            switch result {
            case .success(let answer):
                MasterHandler.submitted(
                    answer, fid: fid, publicURL: assigned.target.publicURL, isRaw: isRaw,
                    pretty: pretty
                ).send(request, exchange)
            case .failure(.upstream(let error)):
                Reply.error(500, error.description, pretty: pretty).send(request, exchange)
            case .failure(.body(.tooLarge)):
                MasterHandler.tooLarge(pretty).send(request, exchange)
            case .failure(.body(let error)):
                guard error.canAnswer else { return }
                Reply.error(400, error.description, pretty: pretty).send(request, exchange)
            }
        }
    }

    /// What of the query concerns the upload; checked before, so that it needs no escaping.
    private static func uploadQuery(_ parameters: Parameters) -> String {
        var items: [String] = []
        if let seconds = UInt64(parameters["ts"]) { items.append("ts=\(seconds)") }
        if let ttl = try? TimeToLive(parsing: parameters["ttl"]), !ttl.isNone {
            items.append("ttl=\(ttl)")
        }
        return items.isEmpty ? "" : "?" + items.joined(separator: "&")
    }

    /// Headers that describe the body, as the client sent them.
    private static func uploadHeaders(
        _ request: HTTPRequest, isRaw: Bool, isChunked: Bool
    ) -> [(name: String, value: String)] {
        var headers: [(name: String, value: String)] = []
        var isNamed = false
        for (name, value) in request.headers {
            let lower = name.lowercased()
            switch lower {
            case "content-type", "content-encoding", "content-md5": headers.append((name, value))
            case "content-disposition":
                headers.append((name, value))
                isNamed = true
            default:
                if lower.hasPrefix("seaweed-") { headers.append((name, value)) }
            }
        }
        if isRaw, !isNamed {
            headers.append(("Content-Disposition", "inline; filename=\"submit\""))
        }
        headers.append(
            isChunked
                ? ("Transfer-Encoding", "chunked")
                : ("Content-Length", "\(request.contentLength ?? 0)"))
        return headers
    }

    private static func submitted(
        _ answer: UpstreamAnswer, fid: String, publicURL: String, isRaw: Bool, pretty: Bool
    ) -> Reply {
        let upload = UploadAnswer(answer)
        guard (200..<300).contains(answer.status) else {
            let text = upload.error ?? "the volume server answered \(answer.status)"
            return .error((400..<500).contains(answer.status) ? 400 : 500, text, pretty: pretty)
        }
        return .json(201, pretty: pretty) {
            $0.object {
                if let etag = upload.eTag, !etag.isEmpty { $0.field("eTag", etag) }
                $0.field("fid", fid)
                $0.field("fileName", upload.name ?? (isRaw ? "submit" : ""))
                $0.field("fileUrl", "\(publicURL)/\(fid)")
                $0.field("size", upload.size ?? 0)
            }
        }
    }

    // MARK: Delete

    /// `/delete`: deletes files wherever they are, one after the other.
    func deleteFiles(_ parameters: Parameters, on loop: any EventLoop) async -> Reply {
        let fids = parameters.all("fid")
        guard !fids.isEmpty, fids.count <= MasterHandler.deleteLimit else {
            return .error(
                400, "1 to \(MasterHandler.deleteLimit) parameters fid expected, got \(fids.count)")
        }
        var results: [(fid: String, size: UInt64, error: String?)] = []
        for fid in fids {
            do {
                results.append((fid, try await delete(fid, on: loop), nil))
            } catch {
                results.append((fid, 0, "\(error)"))
            }
        }
        return .json(202, pretty: parameters.isPretty) {
            $0.object {
                $0.key("Errors")
                $0.null()
                $0.array("Results") {
                    for result in results {
                        $0.object {
                            $0.field("fid", result.fid)
                            $0.field("size", result.size)
                            if let error = result.error { $0.field("error", error) }
                        }
                    }
                }
            }
        }
    }

    private func delete(_ text: String, on loop: any EventLoop) async throws -> UInt64 {
        let fid = try FileID(text)
        let addresses = try core.locations(of: fid.volume)
        guard let address = addresses.first else {
            throw PeerError(.notFound, "volume id \(fid.volume) not found")
        }
        let answer = try await upstream.send("DELETE", "/\(fid)", to: address, on: loop)
        let outcome = UploadAnswer(answer)
        if let error = outcome.error { throw PeerError(.failed, error) }
        return outcome.size ?? 0
    }
}

extension String {
    /// Whether a content type makes an upload multipart: empty or a form.
    fileprivate var isMultipart: Bool {
        isEmpty || utf8.count < 1024 && lowercased().contains("form-data")
    }
}

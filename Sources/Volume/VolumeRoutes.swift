import HTTPServer
import Model
import NIOCore
import Needles
import Wire

/// Sends every request of the server's own port where it belongs.
struct VolumeRoutes: RequestHandler {
    let service: VolumeService

    func handle(_ request: HTTPRequest, _ exchange: Exchange) {
        // File ids start with a digit, fixed paths with a letter: the usual request needs no
        // string.
        let target = request.withPath { path -> Target? in
            guard path.count > 1, path[1] >= 0x30, path[1] <= 0x39 else { return nil }
            return Target(path: path)
        }
        if let target {
            route(request, exchange, target)
        } else if !service.page(request, exchange) {
            route(request, exchange, request.withPath { Target(path: $0) })
        }
    }

    private func route(_ request: HTTPRequest, _ exchange: Exchange, _ target: Target) {
        switch request.method {
        case .get, .head: service.read(request, exchange, target)
        case .post, .put: write(request, exchange, target)
        case .delete: delete(request, exchange, target)
        case .options:
            service.options(request, exchange, methods: "PUT, POST, GET, DELETE, OPTIONS")
        case .other(let method):
            service.respond(exchange, to: request, 400, error: "unsupported method \(method)")
        }
    }

    private func write(_ request: HTTPRequest, _ exchange: Exchange, _ target: Target) {
        guard service.allowsChange(request, exchange, target) else { return }
        switch target {
        case .file(let id, _, isCommaForm: true): service.upload(request, exchange, id)
        case .bad(let error): service.respond(exchange, to: request, 400, error: error.description)
        case .file:
            let id = String(request.path.dropLast(8))
            service.respond(
                exchange, to: request, 400,
                error:
                    "Parse needleId error: needle id \(id) format error: strconv.ParseUint: parsing "
                    + "\"\(id)\": invalid syntax")
        case .other: service.respond(exchange, to: request, 400, error: request.pathError)
        }
    }

    private func delete(_ request: HTTPRequest, _ exchange: Exchange, _ target: Target) {
        guard service.allowsChange(request, exchange, target) else { return }
        switch target {
        case .file(let id, _, _): service.delete(request, exchange, id)
        case .bad(let error): service.respond(exchange, to: request, 400, error: error.description)
        case .other: service.respond(exchange, to: request, 400, error: request.pathError)
        }
    }
}

/// Answers on the public port: reads, and nothing else.
struct PublicRoutes: RequestHandler {
    let routes: VolumeRoutes

    func handle(_ request: HTTPRequest, _ exchange: Exchange) {
        let service = routes.service
        switch request.method {
        case .get, .head:
            service.read(request, exchange, request.withPath { Target(path: $0) })
        case .options: service.options(request, exchange, methods: "GET, OPTIONS")
        default:
            service.respondEmpty(exchange, to: request, 405) {
                $0.add("Allow", "GET, HEAD, OPTIONS")
            }
        }
    }
}

extension HTTPRequest {
    /// What is wrong with a path that names no file.
    fileprivate var pathError: String {
        let text = path.dropFirst()
        guard !text.isEmpty, text.utf8.allSatisfy({ $0 >= 0x30 && $0 <= 0x39 }) else {
            return FileIDError.volume(String(text.prefix(64))).description
        }
        return FileIDError.key(String(path.prefix(64))).description
    }
}

extension VolumeService {
    /// Answers GET and HEAD of a file.
    func read(_ request: HTTPRequest, _ exchange: Exchange, _ target: Target) {
        guard case .file(let id, let name, _) = target else {
            guard let clean = request.cleanedPath else {
                return respondEmpty(exchange, to: request, 400)
            }
            return respondEmpty(exchange, to: request, 307) { $0.add("Location", clean) }
        }
        guard readTokens.allows(request, target) else {
            return respond(exchange, to: request, 401, error: "wrong jwt")
        }
        if case .opening = store.lookup(id.volume) {
            return respondEmpty(exchange, to: request, 503) { $0.add("Retry-After", 1) }
        }
        counters.count(counters.reads)
        let urlName = name.map { range in
            request.withPath { path in
                PercentDecoding.decode(range.map { path[$0] })
            }
        }
        ReadPath.serve(request, exchange, fileID: id, urlName: urlName, context: reads)
    }

    /// Answers OPTIONS.
    func options(_ request: HTTPRequest, _ exchange: Exchange, methods: String) {
        respondEmpty(exchange, to: request, 200) {
            $0.add("Access-Control-Allow-Methods", methods)
            $0.add("Access-Control-Allow-Headers", "*")
        }
    }

    /// Whether the client may write and delete; answers it if not.
    func allowsChange(_ request: HTTPRequest, _ exchange: Exchange, _ target: Target?) -> Bool {
        guard access.allows(exchange.remoteAddress) else {
            if let refusal = access.refusal {
                respond(exchange, to: request, 401, error: refusal)
            } else {
                respondEmpty(exchange, to: request, 401)
            }
            return false
        }
        guard writeTokens.allows(request, target) else {
            respond(exchange, to: request, 401, error: "wrong jwt")
            return false
        }
        return true
    }
}

extension HTTPRequest {
    /// The path without empty, `.` and `..` elements, with the query; `nil` if it has none.
    var cleanedPath: String? {
        let path = self.path
        var elements: [Substring] = []
        for element in path.split(separator: "/") where element != "." {
            if element == ".." { _ = elements.popLast() } else { elements.append(element) }
        }
        let isFolder = path.hasSuffix("/") && !elements.isEmpty
        let clean = "/" + elements.joined(separator: "/") + (isFolder ? "/" : "")
        guard clean != path, path.hasPrefix("/") else { return nil }
        return hasQuery ? "\(clean)?\(rawQuery)" : clean
    }
}

import AsyncHTTPClient
import FoundationEssentials
import Logging
import NIOCore
import NIOHTTP1

/// What the command line asks of masters and volume servers, over HTTP alone, so that it works with
/// any master of either kind.
struct ClusterClient: Sendable {
    /// `host:port` of the masters, tried in this order.
    let masters: [String]
    /// Sends the requests.
    let http: HTTPClient
    /// Whether every request is told.
    let isVerbose: Bool

    /// Seconds to wait for a connection.
    static let connectSeconds: Int64 = 5
    /// Seconds without a byte after which an answer is given up.
    static let silenceSeconds: Int64 = 60
    /// Seconds in which a master may make the volumes it needs.
    static let patienceSeconds: Int64 = 30
    /// Most bytes of an answer that is not a file.
    static let answerLimit = 1 << 20

    /// Runs `body` with a client, and closes its connections.
    static func with<Value: Sendable>(
        masters: MasterList, isVerbose: Bool = false,
        _ body: @escaping @Sendable (ClusterClient) async throws(CommandFailure) -> Value
    ) throws(CommandFailure) -> Value {
        var configuration = HTTPClient.Configuration(
            timeout: .init(
                connect: .seconds(connectSeconds), read: .seconds(silenceSeconds)))
        configuration.connectionPool.retryConnectionEstablishment = false
        configuration.httpVersion = .http1Only
        let http = HTTPClient(configuration: configuration)
        let client = ClusterClient(masters: masters.addresses, http: http, isVerbose: isVerbose)
        return try Work.run { () async throws(CommandFailure) in
            let outcome: Result<Value, CommandFailure>
            do throws(CommandFailure) {
                outcome = .success(try await body(client))
            } catch {
                outcome = .failure(error)
            }
            try? await http.shutdown()
            return try outcome.get()
        }
    }

    // MARK: One request

    /// A small answer.
    struct Answer: Sendable {
        /// The status code.
        let status: Int
        /// Its headers.
        let headers: HTTPHeaders
        /// Its body.
        let body: ByteBuffer

        /// The body as JSON.
        func decoded<Value: Decodable>(_ type: Value.Type) -> Value? {
            try? JSONDecoder().decode(type, from: Data(body.readableBytesView))
        }

        /// What it says of a failure: the field `error`, or the text itself.
        var complaint: String {
            if let text = decoded(Complaint.self)?.error, !text.isEmpty { return text }
            return String(decoding: body.readableBytesView.prefix(300), as: UTF8.self)
        }

        private struct Complaint: Decodable { var error: String? }
    }

    /// Sends a request and takes the whole answer.
    func ask(
        _ what: String, _ request: HTTPClientRequest, of address: String
    ) async throws(ClientError) -> Answer {
        let response = try await send(what, request, to: address)
        do {
            let body = try await response.body.collect(upTo: ClusterClient.answerLimit)
            return Answer(
                status: Int(response.status.code), headers: response.headers, body: body)
        } catch is NIOTooManyBytesError {
            throw .malformed(
                what: what, address: address, why: "more than \(ClusterClient.answerLimit) bytes")
        } catch {
            throw .unreachable(what: what, address: address, why: ClientError.reason(error))
        }
    }

    /// Sends a request; the body of the answer is still to be read.
    func send(
        _ what: String, _ request: HTTPClientRequest, to address: String
    ) async throws(ClientError) -> HTTPClientResponse {
        do {
            let response = try await http.execute(request, deadline: .distantFuture)
            if isVerbose {
                Terminal.error("weed: \(request.method) \(request.url): \(response.status.code)")
            }
            return response
        } catch let error as ClientError {
            throw error
        } catch {
            if isVerbose {
                Terminal.error("weed: \(request.method) \(request.url): \(error)")
            }
            throw .unreachable(what: what, address: address, why: ClientError.reason(error))
        }
    }

    /// Asks the masters one after the other until one answers.
    func askMaster(_ what: String, _ path: String) async throws(ClientError) -> (Answer, String) {
        var reasons: [String] = []
        for master in masters {
            do throws(ClientError) {
                let request = HTTPClientRequest(url: "http://\(master)\(path)")
                let answer = try await ask(what, request, of: master)
                // a follower that has lost its leader says so by 502
                if answer.status != 502 || master == masters.last { return (answer, master) }
                reasons.append("\(master): no leader")
            } catch {
                guard case .unreachable(_, _, let why) = error else { throw error }
                reasons.append("\(master): \(why)")
            }
        }
        throw .noMaster(reasons)
    }

    /// `text` as it stands in a query.
    static func escaped(_ text: String) -> String {
        var result = ""
        for byte in text.utf8 {
            switch byte {
            case 0x30...0x39, 0x41...0x5a, 0x61...0x7a, 0x2d, 0x2e, 0x5f, 0x7e:
                result.unicodeScalars.append(Unicode.Scalar(byte))
            default:
                result += byte < 16 ? "%0" : "%"
                result += String(byte, radix: 16, uppercase: true)
            }
        }
        return result
    }
}

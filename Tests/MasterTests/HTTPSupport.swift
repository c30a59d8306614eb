import FoundationEssentials
import HTTPServer
import Logging
import Model
import NIOCore
import NIOPosix
import Synchronization
import Testing

@testable import Master

/// An answer as it came.
struct Answer: Sendable {
    var status = 0
    var headers: [String: String] = [:]
    var body = ""
}

/// Sends one request over a connection of its own and reads until the server closes.
func http(
    _ port: Int, _ method: String = "GET", _ path: String, headers: [(String, String)] = [],
    body: String? = nil, chunks: String? = nil
) async throws -> Answer {
    var text = "\(method) \(path) HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\n"
    for (name, value) in headers { text += "\(name): \(value)\r\n" }
    if let body { text += "Content-Length: \(body.utf8.count)\r\n" }
    let channel = try await ClientBootstrap(group: MultiThreadedEventLoopGroup.singleton)
        .connect(host: "127.0.0.1", port: port) { channel in
            channel.eventLoop.makeCompletedFuture {
                try NIOAsyncChannel<ByteBuffer, ByteBuffer>(wrappingChannelSynchronously: channel)
            }
        }
    let request = text + "\r\n" + (body ?? chunks ?? "")
    let bytes = try await channel.executeThenClose { inbound, outbound in
        try await outbound.write(ByteBuffer(string: request))
        var bytes = ByteBuffer()
        for try await var piece in inbound { bytes.writeBuffer(&piece) }
        return bytes
    }
    let parts = String(buffer: bytes).split(separator: "\r\n\r\n", maxSplits: 1)
    var answer = Answer(body: parts.count > 1 ? String(parts[1]) : "")
    let lines = try #require(parts.first).split(separator: "\r\n")
    answer.status = Int(lines[0].split(separator: " ")[1]) ?? 0
    for line in lines.dropFirst() {
        let pair = line.split(separator: ":", maxSplits: 1)
        answer.headers[pair[0].lowercased()] = pair.count > 1 ? pair[1].drop { $0 == " " } + "" : ""
    }
    return answer
}

/// A directory that is gone after the test.
func withDirectory<T>(_ body: (String) async throws -> T) async throws -> T {
    var system = SystemRandomNumberGenerator()
    let path = "/tmp/weed-master-test-\(system.next() as UInt64)"
    defer { try? FileManager.default.removeItem(atPath: path) }
    return try await body(path)
}

/// Runs `body` with a master that serves on a port of its own, its state in a fresh directory.
func withMaster(
    change: (inout MasterConfiguration) -> Void = { _ in },
    _ body: (MasterService) async throws -> Void
) async throws {
    try await withDirectory { directory in
        try await withMaster(in: directory, change: change, body)
    }
}

/// Runs `body` with a master whose state is in `directory`.
func withMaster(
    in directory: String, change: (inout MasterConfiguration) -> Void = { _ in },
    _ body: (MasterService) async throws -> Void
) async throws {
    var configuration = MasterConfiguration(directory: directory)
    configuration.host = "127.0.0.1"
    configuration.port = 0
    configuration.volumeSizeLimitMB = 1
    configuration.vacuumIntervalSeconds = 0
    configuration.version = "test"
    change(&configuration)
    let master = try await MasterService.start(
        configuration, group: MultiThreadedEventLoopGroup.singleton, logger: silent)
    do {
        try await body(master)
    } catch {
        await master.shutdown(grace: .zero)
        throw error
    }
    await master.shutdown(grace: .zero)
}

/// Handles requests with a closure.
struct Closure: RequestHandler {
    let body: @Sendable (HTTPRequest, Exchange) -> Void
    func handle(_ request: HTTPRequest, _ exchange: Exchange) { body(request, exchange) }
}

/// Runs `body` with the port of an HTTP server that stands for a volume server.
func withVolumeHTTP(
    _ handler: @escaping @Sendable (HTTPRequest, Exchange) -> Void,
    _ body: (Int) async throws -> Void
) async throws {
    let server = try await HTTPServer.start(
        host: "127.0.0.1", port: 0, group: MultiThreadedEventLoopGroup.singleton, logger: silent,
        handler: Closure(body: handler))
    do {
        try await body(server.port)
    } catch {
        await server.shutdown(grace: .zero)
        throw error
    }
    await server.shutdown(grace: .zero)
}

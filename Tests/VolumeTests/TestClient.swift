import NIOCore
import NIOPosix

/// An answer as it came over the wire.
struct TestAnswer: Sendable {
    var status = 0
    var headers: [(name: String, value: String)] = []
    var body: [UInt8] = []

    /// The body as text.
    var text: String { String(decoding: body, as: UTF8.self) }

    /// The first value of a header, by its lower-case name.
    subscript(_ name: String) -> String? {
        headers.first { $0.name.lowercased() == name }?.value
    }

    /// Takes what a server sent until it closed the connection apart.
    init(_ bytes: [UInt8]) throws {
        let end = Array("\r\n\r\n".utf8)
        guard let split = bytes.indices.first(where: { bytes[$0...].starts(with: end) }) else {
            throw TestClientError.noAnswer(String(decoding: bytes.prefix(200), as: UTF8.self))
        }
        let lines = String(decoding: bytes[..<split], as: UTF8.self).split(separator: "\r\n")
        let words = lines.first?.split(separator: " ") ?? []
        status = words.count > 1 ? Int(words[1]) ?? 0 : 0
        for line in lines.dropFirst() {
            let parts = line.split(separator: ":", maxSplits: 1, omittingEmptySubsequences: false)
            headers.append((String(parts[0]), parts.count > 1 ? parts[1].trimmed : ""))
        }
        body = Array(bytes[(split + end.count)...])
        // An interim answer comes before the real one.
        if status == 100 { self = try TestAnswer(body) }
    }
}

enum TestClientError: Error {
    case noAnswer(String)
}

extension Substring {
    fileprivate var trimmed: String {
        String(drop { $0 == " " })
    }
}

/// One connection that sends bytes as told and hears until the server closes.
final class TestConnection: Sendable {
    private let channel: any Channel
    private let received: EventLoopFuture<[UInt8]>

    init(port: Int, group: any EventLoopGroup) async throws {
        let promise = group.next().makePromise(of: [UInt8].self)
        channel = try await ClientBootstrap(group: group).channelInitializer { channel in
            channel.eventLoop.makeCompletedFuture {
                try channel.pipeline.syncOperations.addHandler(Collector(promise))
            }
        }.connect(host: "127.0.0.1", port: port).get()
        received = promise.futureResult
    }

    func send(_ bytes: [UInt8]) async throws {
        try await channel.writeAndFlush(ByteBuffer(bytes: bytes))
    }

    func close() async throws { try await channel.close() }

    /// What came until the server closed the connection.
    func answer() async throws -> TestAnswer { try TestAnswer(try await received.get()) }
}

private final class Collector: ChannelInboundHandler {
    typealias InboundIn = ByteBuffer
    private let promise: EventLoopPromise<[UInt8]>
    private var bytes: [UInt8] = []

    init(_ promise: EventLoopPromise<[UInt8]>) { self.promise = promise }

    func channelRead(context: ChannelHandlerContext, data: NIOAny) {
        bytes += unwrapInboundIn(data).readableBytesView
    }

    func channelInactive(context: ChannelHandlerContext) { promise.succeed(bytes) }

    func errorCaught(context: ChannelHandlerContext, error: any Error) {
        context.close(promise: nil)
    }
}

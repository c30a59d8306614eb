import Foundation
import HTTPServer
import Logging
import Model
import NIOCore
import NIOPosix
import Platform
import Synchronization
import Testing

@testable import Volume

@Suite("Holders that fail, and what is owed to them")
struct CopiesHolderTests {
    @Test("a holder that answers wrongly is a failure that is not forgotten")
    func badAnswers() async throws {
        let answers: [@Sendable (HTTPRequest, Exchange) -> Void] = [
            { _, exchange in exchange.respondError(500, "no space left") },
            // Other bytes were stored.
            { _, exchange in
                exchange.respond(201, body: .empty) { $0.add("Etag", "\"00000001\"") }
            },
            { _, exchange in exchange.respond(201, body: .empty) },
            { _, exchange in exchange.respond(302, body: .empty) { $0.add("Location", "/x") } },
        ]
        for answer in answers {
            try await FakeHolder.run(answer) { address, _ in
                try await CopiesFixture.run(1) { cluster in
                    try await cluster.makeVolume(3, on: [0])
                    cluster.master.set(3, [cluster[0].service.url, address])
                    let failed = try await cluster[0].post("/3,01637037d6", [1])
                    #expect(failed.status == 500)
                    #expect(failed.text.contains("failed to write to replicas for volume 3"))
                    #expect(failed.text.contains(address))
                    #expect(cluster[0].service.copies.ledger.debts.count == 1)
                }
            }
        }
    }

    @Test("a holder that is slow is waited for, and one that breaks off is not")
    func slowAndBroken() async throws {
        let slow: @Sendable (HTTPRequest, Exchange) -> Void = { _, exchange in
            exchange.readBody(limit: 1 << 20) { _ in
                let bound = NIOLoopBound(exchange, eventLoop: exchange.eventLoop)
                exchange.eventLoop.scheduleTask(in: .milliseconds(400)) {
                    bound.value.respond(201, body: .empty) {
                        $0.add("Etag", "\"\(PreparedUpload.eTag(CRC32C.checksum([7])))\"")
                    }
                }
            }
        }
        try await FakeHolder.run(slow) { address, holder in
            try await CopiesFixture.run(1) { cluster in
                try await cluster.makeVolume(3, on: [0])
                cluster.master.set(3, [cluster[0].service.url, address])
                #expect(try await cluster[0].post("/3,01637037d6", [7]).status == 201)
                let request = try #require(holder.requests.first)
                #expect(request.hasPrefix("POST /3,01637037d6?type=replicate&ts="))
            }
        }
        let group = MultiThreadedEventLoopGroup.singleton
        let broken = try await ServerBootstrap(group: group).childChannelInitializer { channel in
            channel.eventLoop.makeCompletedFuture {
                try channel.pipeline.syncOperations.addHandler(BreakingOff())
            }
        }.bind(host: "127.0.0.1", port: 0).get()
        try await CopiesFixture.run(1) { cluster in
            try await cluster.makeVolume(3, on: [0])
            let address = "127.0.0.1:\(broken.localAddress?.port ?? 0)"
            cluster.master.set(3, [cluster[0].service.url, address])
            for size in [1, 300_000, 3_000_000] {
                let failed = try await cluster[0].post(
                    "/3,01637037d6", [UInt8](repeating: 1, count: size))
                #expect(failed.status == 500)
            }
            #expect(cluster[0].service.copies.ledger.debts.count == 1)
        }
        try await broken.close()
    }

    @Test("what is owed and what was under way outlive the process")
    func ledger() async throws {
        let directory = "/tmp/volume-ledger-\(UUID().uuidString)"
        try FileManager.default.createDirectory(
            atPath: directory, withIntermediateDirectories: true)
        defer { try? FileManager.default.removeItem(atPath: directory) }
        let pool = NIOThreadPool(numberOfThreads: 1)
        pool.start()
        var logger = Logger(label: "test")
        logger.logLevel = .critical
        func open() throws -> Ledger {
            try Ledger(in: directory, disk: PosixDisk(), pool: pool, logger: logger)
        }
        func owe(_ ledger: Ledger, _ id: FileID) async {
            await withCheckedContinuation { continuation in
                ledger.owe(id) { continuation.resume() }
            }
        }
        let ids = (1...4).map { FileID(volume: 3, key: NeedleKey($0), cookie: 9) }
        do {
            let ledger = try open()
            await owe(ledger, ids[0])
            await owe(ledger, ids[1])
            guard case .started(let slot) = ledger.begin(ids[2], start: { _ in }),
                case .started = ledger.begin(ids[3], start: { _ in })
            else { return #expect(Bool(false), "nothing was under way") }
            ledger.end(ids[2], slot)
            #expect(ledger.beginMending(Debt(ids[0])))
            #expect(ledger.endMending(Debt(ids[0]), isEqual: true))
            await owe(ledger, ids[1])
        }
        #expect(Set(try open().debts.keys) == [Debt(ids[1]), Debt(ids[3])])
        // A damaged record costs that record, a torn one nothing.
        let path = directory + "/" + DebtFile.name
        var bytes = try Data(contentsOf: URL(fileURLWithPath: path))
        bytes[40] ^= 1
        bytes.append(contentsOf: [1, 2, 3])
        try bytes.write(to: URL(fileURLWithPath: path))
        let ledger = try open()
        #expect(Set(ledger.debts.keys) == [Debt(ids[3])])
        await owe(ledger, ids[0])
        #expect(Set(try open().debts.keys) == [Debt(ids[0]), Debt(ids[3])])
        // Paid debts do not make the file grow for ever.
        for key in 1000..<3200 {
            let id = FileID(volume: 4, key: NeedleKey(key), cookie: 1)
            ledger.owe(id) {}
            #expect(ledger.beginMending(Debt(id)))
            #expect(ledger.endMending(Debt(id), isEqual: true))
        }
        for key in 1...2 {
            await owe(ledger, FileID(volume: 5, key: NeedleKey(key), cookie: 1))
        }
        #expect(try Data(contentsOf: URL(fileURLWithPath: path)).count < 1000)
        #expect(try open().debts.count == 4)
        try await pool.shutdownGracefully()
    }

    @Test("a debt is only paid when nobody changed the file meanwhile")
    func mendingAndChanges() async throws {
        let directory = "/tmp/volume-ledger-\(UUID().uuidString)"
        try FileManager.default.createDirectory(
            atPath: directory, withIntermediateDirectories: true)
        defer { try? FileManager.default.removeItem(atPath: directory) }
        let pool = NIOThreadPool(numberOfThreads: 1)
        pool.start()
        let ledger = try Ledger(
            in: directory, disk: PosixDisk(), pool: pool, logger: Logger(label: "test"))
        let id = FileID(volume: 3, key: 1, cookie: 9)
        await withCheckedContinuation { continuation in
            ledger.owe(id) { continuation.resume() }
        }
        #expect(ledger.follow(id))
        #expect(!ledger.beginMending(Debt(id)))
        ledger.unfollow(id)
        #expect(ledger.beginMending(Debt(id)))
        #expect(!ledger.beginMending(Debt(id)))
        guard case .started(let slot) = ledger.begin(id, start: { _ in }) else {
            return #expect(Bool(false), "mending must not stop a change")
        }
        #expect(!ledger.follow(id))
        #expect(!ledger.endMending(Debt(id), isEqual: true))
        let second = Mutex(Int?.none)
        guard case .waiting = ledger.begin(id, start: { slot in second.withLock { $0 = slot } })
        else { return #expect(Bool(false), "two changes of one file at a time") }
        ledger.end(id, slot)
        let next = try #require(second.withLock { $0 })
        #expect(!ledger.beginMending(Debt(id)))
        ledger.end(id, next)
        #expect(ledger.beginMending(Debt(id)))
        #expect(ledger.endMending(Debt(id), isEqual: true))
        #expect(ledger.debts.isEmpty)
        try await pool.shutdownGracefully()
    }
}

/// Closes the connection with the first bytes that come.
private final class BreakingOff: ChannelInboundHandler, Sendable {
    typealias InboundIn = ByteBuffer

    func channelRead(context: ChannelHandlerContext, data: NIOAny) {
        context.close(promise: nil)
    }
}

extension CRC32C {
    fileprivate static func checksum(_ bytes: [UInt8]) -> UInt32 {
        unsafe checksum(bytes.span.bytes)
    }
}

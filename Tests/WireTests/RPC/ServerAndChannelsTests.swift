import GRPCCore
import NIOCore
import NIOPosix
import RPC
import SwiftProtobuf
import Synchronization
import Testing
import Wire
import WireMessages

@Suite(.timeLimit(.minutes(2))) struct ServerAndChannelsTests {
    private typealias Client = MasterPb_Seaweed.Client<HTTP2Transport>

    private func assign(
        _ channels: PeerChannels, _ address: PeerAddress,
        _ request: MasterPb_AssignRequest = .init(),
        timeout: Duration = .seconds(20), waits: Bool = false
    ) async throws -> MasterPb_AssignResponse {
        try await channels.call(address, timeout: timeout, waitsForConnection: waits) {
            try await Client(wrapping: $0).assign(request, options: $1)
        }
    }

    @Test("Calls of many tasks share one connection")
    func unary() async throws {
        let server = try await Quiet.serve(
            SmallMaster(assigned: { request in .with { $0.count = request.count + 1 } }))
        let channels = PeerChannels(group: Quiet.group)
        try await withThrowingTaskGroup(of: UInt64.self) { group in
            for number in 0..<200 {
                group.addTask {
                    try await assign(
                        channels, Quiet.address(server.port), .with { $0.count = UInt64(number) }
                    ).count
                }
            }
            var sum: UInt64 = 0
            for try await count in group { sum += count }
            #expect(sum == 200 * 201 / 2)
        }
        #expect(channels.counts == (shared: 1, streams: 0))
        await channels.close()
        await server.shutdown(grace: .seconds(2))
        await #expect(throws: PeerError.self) {
            try await assign(channels, Quiet.address(server.port))
        }
    }

    @Test("A stream has a connection of its own, both sides run at once, its end frees it")
    func stream() async throws {
        let server = try await Quiet.serve(
            SmallMaster(assigned: { request in .with { $0.count = request.count } }))
        let channels = PeerChannels(group: Quiet.group)
        let counts = try await channels.stream(Quiet.address(server.port)) { client, options in
            let (numbers, next) = AsyncStream.makeStream(of: UInt64.self)
            next.yield(1)
            return try await Client(wrapping: client).streamAssign(
                options: options,
                requestProducer: { writer in
                    for await number in numbers {
                        try await writer.write(.with { $0.count = number })
                    }
                },
                onResponse: { response in
                    var counts: [UInt64] = []
                    for try await answer in response.messages {
                        counts.append(answer.count)
                        #expect(channels.counts.streams == 1)
                        if answer.count < 5 { next.yield(answer.count + 1) } else { next.finish() }
                    }
                    return counts
                })
        }
        #expect(counts == [1, 2, 3, 4, 5])
        #expect(channels.counts == (shared: 0, streams: 0))
        await channels.close()
        await server.shutdown(grace: .seconds(2))
    }

    @Test("A method the server lacks is UNIMPLEMENTED, by name")
    func unimplemented() async throws {
        let server = try await Quiet.serve(SmallMaster())
        let channels = PeerChannels(group: Quiet.group)
        let address = Quiet.address(server.port)
        let lacked = await #expect(throws: PeerError.self) {
            try await channels.call(address, timeout: .seconds(20)) {
                try await Client(wrapping: $0).volumeList(.init(), options: $1)
            }
        }
        #expect(lacked?.kind == .refused)
        #expect(lacked?.description.contains("master_pb.Seaweed/VolumeList") == true)
        let foreign = await #expect(throws: PeerError.self) {
            try await channels.call(address, timeout: .seconds(20)) {
                try await VolumeServerPb_VolumeServer.Client(wrapping: $0)
                    .ping(.init(), options: $1)
            }
        }
        #expect(foreign?.kind == .refused)
        await channels.close()
        await server.shutdown(grace: .seconds(2))
    }

    @Test("Errors of every kind keep their text and their meaning")
    func errors() async throws {
        struct Odd: Error, CustomStringConvertible { let description = "odd thing happened" }
        let thrown: [(any Error & Sendable, PeerError.Kind, String)] = [
            (PeerError(.notFound, "no volume 9"), .notFound, "no volume 9"),
            (PeerError(.refused, "never"), .refused, "never"),
            (PeerError(.failed, "not today"), .failed, "not today"),
            (PeerError(.unreachable, "gone"), .unreachable, "gone"),
            (RPCError(code: .resourceExhausted, message: "growing"), .failed, "growing"),
            (Odd(), .failed, "odd thing happened"),
        ]
        for (error, kind, text) in thrown {
            let server = try await Quiet.serve(SmallMaster(assigned: { _ in throw error }))
            let channels = PeerChannels(group: Quiet.group)
            let address = Quiet.address(server.port)
            let seen = await #expect(throws: PeerError.self) { try await assign(channels, address) }
            #expect(seen?.kind == kind, "\(error)")
            #expect(seen?.description.contains(text) == true, "\(String(describing: seen))")
            #expect(seen?.description.contains(address.description) == true)
            await channels.close()
            await server.shutdown(grace: .seconds(2))
        }
    }

    @Test("A taken port is an error that names it")
    func taken() async throws {
        let server = try await Quiet.serve(SmallMaster())
        let error = await #expect(throws: RPCServerError.self) {
            _ = try await Quiet.serve(SmallMaster(), port: server.port)
        }
        let text = error.map { "\($0)" } ?? ""
        #expect(text.contains("127.0.0.1:\(server.port)"), "\(text)")
        #expect(text.contains("in use"), "\(text)")
        await server.shutdown(grace: .seconds(2))
        let nowhere = await #expect(throws: RPCServerError.self) {
            _ = try await RPCServer.start(
                host: "256.1.1.1", port: 0, services: [], group: Quiet.group, logger: Quiet.logger)
        }
        #expect(nowhere != nil)
    }

    @Test("A request above the bound is refused, the server goes on")
    func oversized() async throws {
        let server = try await Quiet.serve(SmallMaster(), maxRequestBytes: 1 << 20)
        let channels = PeerChannels(group: Quiet.group)
        let address = Quiet.address(server.port)
        let large = MasterPb_AssignRequest.with {
            $0.collection = String(repeating: "x", count: 2 << 20)
        }
        await #expect(throws: PeerError.self) { try await assign(channels, address, large) }
        _ = try await assign(channels, address)
        await channels.close()
        await server.shutdown(grace: .seconds(2))
    }

    @Test("Messages of several megabytes go both ways")
    func large() async throws {
        let text = String(repeating: "y", count: 6 << 20)
        let server = try await Quiet.serve(
            SmallMaster(assigned: { request in .with { $0.fid = request.collection } }))
        let channels = PeerChannels(group: Quiet.group)
        let answer = try await assign(
            channels, Quiet.address(server.port), .with { $0.collection = text })
        #expect(answer.fid.utf8.count == text.utf8.count)
        await channels.close()
        await server.shutdown(grace: .seconds(2))
    }

    @Test("A call that is not answered ends with its time")
    func deadline() async throws {
        let server = try await Quiet.serve(
            SmallMaster(assigned: { _ in
                try await Task.sleep(for: .seconds(600))
                return .init()
            }))
        let channels = PeerChannels(group: Quiet.group)
        let clock = ContinuousClock()
        let begun = clock.now
        let error = await #expect(throws: PeerError.self) {
            try await assign(channels, Quiet.address(server.port), timeout: .milliseconds(200))
        }
        #expect(error?.kind == .unreachable)
        #expect(clock.now - begun < .seconds(30))
        await channels.close()
        await server.shutdown(grace: .milliseconds(100))
    }

    @Test("A server that was away is reached again with the next call")
    func reconnect() async throws {
        let channels = PeerChannels(group: Quiet.group)
        let first = try await Quiet.serve(SmallMaster())
        let address = Quiet.address(first.port)
        _ = try await assign(channels, address)
        await first.shutdown(grace: .seconds(2))
        for _ in 0..<5 {
            let error = await #expect(throws: PeerError.self) {
                try await assign(channels, address)
            }
            #expect(error?.kind == .unreachable)
        }
        let second = try await Quiet.serve(SmallMaster(), port: first.port)
        _ = try await assign(channels, address)
        await second.shutdown(grace: .seconds(2))

        async let waiting = assign(channels, address, waits: true)
        let third = try await Quiet.serve(SmallMaster(), port: first.port)
        _ = try await waiting
        await channels.close()
        await third.shutdown(grace: .seconds(2))
    }

    @Test("Stopping lets calls under way finish, and ends what takes too long")
    func shutdown() async throws {
        let (begun, begin) = AsyncStream.makeStream(of: Void.self)
        let server = try await Quiet.serve(
            SmallMaster(assigned: { request in
                begin.yield()
                try await Task.sleep(for: request.count == 1 ? .milliseconds(300) : .seconds(600))
                return .with { $0.count = 1 }
            }))
        let channels = PeerChannels(group: Quiet.group)
        let address = Quiet.address(server.port)
        let quick = Task { try await assign(channels, address, .with { $0.count = 1 }) }
        let slow = Task { try await assign(channels, address, .with { $0.count = 2 }) }
        var calls = begun.makeAsyncIterator()
        await calls.next()
        await calls.next()
        await server.shutdown(grace: .seconds(1))
        #expect(try await quick.value.count == 1)
        await #expect(throws: PeerError.self) { try await slow.value }
        await channels.close()
    }

    @Test("A port that is none is refused, not fatal")
    func noPort() async throws {
        let channels = PeerChannels(group: Quiet.group)
        let error = await #expect(throws: PeerError.self) {
            try await assign(channels, PeerAddress(host: "127.0.0.1", port: 60000))
        }
        #expect(error?.kind == .unreachable)
        await channels.close()
    }

    @Test("Beyond the limit the connection that was used least recently is closed")
    func limit() async throws {
        let channels = PeerChannels(group: Quiet.group, connectionLimit: 2)
        var servers: [RPCServer] = []
        for _ in 0..<4 { servers.append(try await Quiet.serve(SmallMaster())) }
        for server in servers + servers {
            _ = try await assign(channels, Quiet.address(server.port))
            #expect(channels.counts.shared <= 2)
        }
        await channels.close()
        for server in servers { await server.shutdown(grace: .seconds(2)) }
    }

    @Test("Callers whose address is not admitted are refused with what to do")
    func gate() async throws {
        let seen = Mutex<Set<String>>([])
        let server = try await RPCServer.start(
            host: "127.0.0.1", port: 0, services: [SmallMaster()], group: Quiet.group,
            admits: { address in
                seen.withLock { $0.insert(address).inserted }
            }, logger: Quiet.logger)
        let channels = PeerChannels(group: Quiet.group)
        _ = try await assign(channels, Quiet.address(server.port))
        let error = await #expect(throws: PeerError.self) {
            try await assign(channels, Quiet.address(server.port))
        }
        #expect(error?.kind == .refused && error?.description.contains("-whiteList") == true)
        #expect(seen.withLock { $0 } == ["127.0.0.1"])
        await channels.close()
        await server.shutdown(grace: .seconds(2))
    }

    @Test("Messages that are none are refused, and others are unaffected")
    func malformed() async throws {
        struct Raw: MessageSerializer {
            func serialize<Bytes: GRPCContiguousBytes>(_ message: [UInt8]) throws -> Bytes {
                Bytes(message)
            }
        }
        struct Ignored: MessageDeserializer {
            func deserialize<Bytes: GRPCContiguousBytes>(_ bytes: Bytes) throws -> Int { 0 }
        }
        let server = try await Quiet.serve(
            SmallMaster(assigned: { request in .with { $0.count = request.count } }))
        let channels = PeerChannels(group: Quiet.group)
        let address = Quiet.address(server.port)
        let bad: [[UInt8]] = [
            [0x0a], [0x0a, 0xff, 0xff, 0xff, 0xff, 0x0f], [0x07],
            [UInt8](repeating: 0xff, count: 100), [0x12, 2, 0xc3, 0x28],
        ]
        for bytes in bad {
            await #expect(throws: PeerError.self, "\(bytes)") {
                try await channels.call(address, timeout: .seconds(20)) { client, options in
                    try await client.unary(
                        request: ClientRequest(message: bytes),
                        descriptor: MasterPb_Seaweed.Method.Assign.descriptor, serializer: Raw(),
                        deserializer: Ignored(), options: options
                    ) { try $0.message }
                }
            }
            #expect(try await assign(channels, address, .with { $0.count = 4 }).count == 4)
        }
        await channels.close()
        await server.shutdown(grace: .seconds(2))
    }

    @Test("Connections that speak no HTTP/2, or nothing at all, harm nobody")
    func noise() async throws {
        let server = try await Quiet.serve(SmallMaster())
        let channels = PeerChannels(group: Quiet.group)
        for bytes in [
            "GET / HTTP/1.1\r\n\r\n", "\0\0\0", "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\nxxxxxxxxxxxxx",
        ] {
            let noise = try await ClientBootstrap(group: Quiet.group)
                .connect(host: "127.0.0.1", port: server.port).get()
            try await noise.writeAndFlush(ByteBuffer(string: bytes))
            _ = try await assign(channels, Quiet.address(server.port))
            try? await noise.close()
        }
        await channels.close()
        await server.shutdown(grace: .seconds(2))
    }
}

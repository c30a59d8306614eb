import GRPCCore
import Logging
import NIOPosix
import RPC
import Synchronization
import WireMessages

/// Loggers and threads of these tests.
enum Quiet {
    static var logger: Logger {
        var logger = Logger(label: "test")
        logger.logLevel = .critical
        return logger
    }

    static let group = MultiThreadedEventLoopGroup.singleton

    /// Starts a server on 127.0.0.1.
    ///
    /// Without a port it takes one that the system does not hand out to connections by itself: a
    /// test can then be sure to get it again.
    static func serve(
        _ service: any RegistrableRPCService, port: Int? = nil, maxRequestBytes: Int = 64 << 20
    ) async throws -> RPCServer {
        for _ in 0..<100 {
            do {
                return try await RPCServer.start(
                    host: "127.0.0.1", port: port ?? Int.random(in: 12_000..<32_000),
                    services: [service], group: group, maxRequestBytes: maxRequestBytes,
                    logger: logger)
            } catch {
                if port != nil { throw error }
            }
        }
        return try await RPCServer.start(
            host: "127.0.0.1", port: 0, services: [service], group: group,
            maxRequestBytes: maxRequestBytes, logger: logger)
    }

    /// An address whose gRPC port is `grpcPort`.
    static func address(_ grpcPort: Int, port: Int = 9333) -> PeerAddress {
        PeerAddress(host: "127.0.0.1", port: port, grpcPort: grpcPort)
    }
}

/// A master with a few methods whose answers tests choose.
struct SmallMaster: MasterPb_Seaweed.SimpleServiceProtocol {
    var assigned: @Sendable (MasterPb_AssignRequest) async throws -> MasterPb_AssignResponse = {
        _ in .init()
    }

    func assign(
        request: MasterPb_AssignRequest, context: ServerContext
    ) async throws -> MasterPb_AssignResponse {
        try await assigned(request)
    }

    func streamAssign(
        request: RPCAsyncSequence<MasterPb_AssignRequest, any Swift.Error>,
        response: RPCWriter<MasterPb_AssignResponse>, context: ServerContext
    ) async throws {
        for try await one in request { try await response.write(try await assigned(one)) }
    }
}

/// A count that several threads change.
final class Count: Sendable {
    private let value = Atomic(0)

    @discardableResult
    func add(_ difference: Int = 1) -> Int {
        value.add(difference, ordering: .relaxed).newValue
    }

    var current: Int { value.load(ordering: .relaxed) }
}

/// Waits until something is so; the test's time limit bounds it.
func until(_ condition: () -> Bool) async {
    while !condition(), (try? await Task.sleep(for: .milliseconds(5))) != nil {}
}

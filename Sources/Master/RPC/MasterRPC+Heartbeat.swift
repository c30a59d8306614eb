import GRPCCore
import Logging
import Model
import RPC
import SwiftProtobuf
import Synchronization
import WireMessages

extension MasterRPC {
    func sendHeartbeat(
        request: RPCAsyncSequence<MasterPb_Heartbeat, any Error>,
        response: RPCWriter<MasterPb_HeartbeatResponse>, context: ServerContext
    ) async throws {
        do {
            try await counted { try await takeHeartbeats(request, response) }
        } catch let error as RPCError where error.code == .resourceExhausted {
            core.logger.error(
                "a volume server was refused",
                metadata: ["peer": "\(context.remotePeer)", "reason": "\(error.message)"])
            throw error
        }
    }

    private func takeHeartbeats(
        _ request: RPCAsyncSequence<MasterPb_Heartbeat, any Error>,
        _ response: RPCWriter<MasterPb_HeartbeatResponse>
    ) async throws {
        let connection = core.nextConnection()
        defer { core.disconnected(connection: connection) }
        var reader = HeartbeatReader()
        var link: (server: PeerAddress, link: ServerLink)?
        var isAnswered = false
        for try await message in request {
            guard let beat = reader.read(message), let address = PeerAddress(beat.server)
            else {
                if message.ip.isEmpty { continue }
                try await refuse(.nameless, response)
            }
            if link?.server != address || link?.server.grpcPort != address.grpcPort {
                let peer = peers.volumeServer(address)
                link = (address, ServerLink(connection: connection, peer: peer))
            }
            guard let link = link?.link else { continue }
            do {
                try await core.take(beat, from: link)
            } catch let refusal as HeartbeatRefusal {
                try await refuse(refusal, response)
            }
            if !isAnswered {
                isAnswered = true
                try await response.write(core.greeting)
            }
        }
    }

    /// Ends a stream, saying why.
    private func refuse(
        _ refusal: HeartbeatRefusal, _ response: RPCWriter<MasterPb_HeartbeatResponse>
    ) async throws -> Never {
        core.logger.error("a volume server was refused", metadata: ["reason": "\(refusal)"])
        if case .duplicateDirectories(let ids, _, _) = refusal {
            var answer = core.greeting
            answer.duplicatedUuids = ids
            try await response.write(answer)
        }
        throw RPCError(code: .unknown, message: "\(refusal)")
    }

    func volumeMarkReadonly(
        request: MasterPb_VolumeMarkReadonlyRequest, context: ServerContext
    ) async throws -> MasterPb_VolumeMarkReadonlyResponse {
        let url = PeerAddress(host: request.ip, port: Int(request.port)).http
        let isFound = core.shared.withLock { shared in
            guard let server = shared.topology.server(at: url),
                server.volumes[request.volumeID] != nil
            else { return false }
            shared.topology.withCopy(of: request.volumeID, on: server.key) {
                $0.readOnlyReason = request.isReadonly ? "marked read-only there" : nil
            }
            return true
        }
        guard isFound else {
            throw RPCError(
                code: .unknown, message: "volume \(request.volumeID) is not known on \(url)")
        }
        return .init()
    }
}

extension PeerAddress {
    fileprivate init?(_ server: ServerIdentity) {
        guard let address = PeerAddress(server.url) else { return nil }
        self.init(host: address.host, port: address.port, grpcPort: server.grpcPort)
    }
}

extension MasterCore {
    /// The answer to a volume server's first message.
    var greeting: MasterPb_HeartbeatResponse {
        .with {
            $0.volumeSizeLimit = configuration.volumeSizeLimit
            $0.leader = longAddress
            $0.topologyID = topologyID
            $0.masters = [longAddress]
        }
    }
}

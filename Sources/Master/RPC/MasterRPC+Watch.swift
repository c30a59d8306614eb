import GRPCCore
import Model
import Synchronization
import SwiftProtobuf
import WireMessages

extension MasterRPC {
    func keepConnected(
        request: RPCAsyncSequence<MasterPb_KeepConnectedRequest, any Error>,
        response: RPCWriter<MasterPb_KeepConnectedResponse>, context: ServerContext
    ) async throws {
        try await counted { try await keep(request, response, peer: context.remotePeer) }
    }

    private func keep(
        _ request: RPCAsyncSequence<MasterPb_KeepConnectedRequest, any Error>,
        _ response: RPCWriter<MasterPb_KeepConnectedResponse>, peer: String
    ) async throws {
        let (introductions, introduce) = AsyncStream.makeStream(
            of: MasterPb_KeepConnectedRequest.self, bufferingPolicy: .bufferingOldest(1))
        // Whichever side ends first ends the call: the client by going, this one by giving up.
        try await withThrowingTaskGroup(of: Void.self) { group in
            group.addTask {
                defer { introduce.finish() }
                for try await message in request { introduce.yield(message) }
            }
            group.addTask {
                for await message in introductions {
                    return try await watch(ClientIdentity(message, peer: peer), response)
                }
            }
            defer { group.cancelAll() }
            try await group.next()
        }
    }

    private func watch(
        _ client: ClientIdentity, _ response: RPCWriter<MasterPb_KeepConnectedResponse>
    ) async throws {
        guard let watching = core.watch(client) else {
            throw RPCError(
                code: .resourceExhausted,
                message: "\(Watchers.limit) clients are connected to this master already")
        }
        defer { core.unwatch(watching.number) }
        var first = watching.first.map { MasterPb_KeepConnectedResponse($0) }
        // Clients wait for the first message, and for the leader in it.
        if first.first?.hasVolumeLocation != true { first.insert(.init(), at: 0) }
        first[0].volumeLocation.leader = core.longAddress
        for message in first { try await response.write(message) }
        try await withThrowingTaskGroup(of: Void.self) { group in
            group.addTask {
                for await news in watching.rest {
                    try await response.write(MasterPb_KeepConnectedResponse(news))
                }
            }
            // A client that does not read would hold up the writing side for ever.
            group.addTask { for await _ in watching.end {} }
            defer { group.cancelAll() }
            try await group.next()
        }
    }

    func listClusterNodes(
        request: MasterPb_ListClusterNodesRequest, context: ServerContext
    ) async throws -> MasterPb_ListClusterNodesResponse {
        guard ClientIdentity.listedTypes.contains(request.clientType) else { return .init() }
        let nodes = core.shared.withLock {
            $0.watchers.nodes(request.clientType, group: request.filerGroup)
        }
        let limit = request.limit > 0 ? Int(request.limit) : nodes.count
        return .with {
            $0.clusterNodes = nodes.prefix(limit).map { node in
                .with {
                    $0.address = node.client.address
                    $0.version = node.client.version
                    $0.createdAtNs = node.createdAt
                    $0.dataCenter = node.client.dataCenter
                    $0.rack = node.client.rack
                }
            }
        }
    }
}

extension MasterCore {
    /// How long filers may come and go before their ring is made anew.
    static let ringDelay = Duration.seconds(1)

    /// A client hears of changes from now on; `nil` when there are too many.
    func watch(_ client: ClientIdentity) -> Watching? {
        let watching = change { shared in
            shared.watchers.join(
                client, volumes: shared.topology.allLocations, now: UnixTime.nanoseconds)
        }
        renewRingsLater()
        return watching
    }

    /// A client has gone.
    func unwatch(_ number: UInt64) {
        shared.withLock { $0.watchers.leave(number) }
        renewRingsLater()
    }

    private func renewRingsLater() {
        let starts = shared.withLock { shared in
            guard shared.watchers.hasChangedRings, !shared.isRingScheduled else { return false }
            shared.isRingScheduled = true
            return true
        }
        guard starts else { return }
        Task {
            try? await Task.sleep(for: MasterCore.ringDelay)
            shared.withLock { shared in
                shared.isRingScheduled = false
                shared.watchers.renewRings(now: UnixTime.nanoseconds)
            }
        }
    }
}

extension ClientIdentity {
    /// Bytes of each text that are kept.
    private static let textBytes = 255

    fileprivate init(_ message: MasterPb_KeepConnectedRequest, peer: String) {
        func cut(_ text: String) -> String {
            text.utf8.count <= ClientIdentity.textBytes
                ? text
                : String(decoding: text.utf8.prefix(ClientIdentity.textBytes), as: UTF8.self)
        }
        self.init(
            type: cut(message.clientType),
            address: cut(message.clientAddress.isEmpty ? peer : message.clientAddress),
            group: cut(message.filerGroup), version: cut(message.version),
            dataCenter: cut(message.dataCenter), rack: cut(message.rack))
    }
}

extension MasterPb_KeepConnectedResponse {
    fileprivate init(_ news: WatcherNews) {
        self.init()
        switch news {
        case .locations(let change):
            volumeLocation = .with {
                $0.url = change.server.url
                $0.publicURL = change.server.publicURL
                $0.dataCenter = change.server.dataCenter
                $0.grpcPort = UInt32(clamping: change.server.grpcPort)
                $0.newVids = change.added
                $0.deletedVids = change.removed
            }
        case .node(let update):
            clusterNodeUpdate = .with {
                $0.nodeType = update.client.type
                $0.address = update.client.address
                $0.isAdd = update.isAdded
                $0.filerGroup = update.client.group
                $0.createdAtNs = update.createdAt
            }
        case .ring(let ring):
            lockRingUpdate = .with {
                $0.filerGroup = ring.group
                $0.servers = ring.servers
                $0.version = ring.version
            }
        }
    }
}

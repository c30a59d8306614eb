import GRPCCore
import GRPCProtobuf
import Model
import RPC
import Synchronization
import Wire
import SwiftProtobuf
import WireMessages

/// A master's gRPC service, `master_pb.Seaweed`.
///
/// Methods that are not here are answered `UNIMPLEMENTED`.
struct MasterRPC: MasterPb_Seaweed.SimpleServiceProtocol {
    /// Ids in one look-up.
    static let lookupLimit = 100_000

    let core: MasterCore
    /// How volume servers are reached.
    let peers: PeerSource

    /// Runs a stream, unless too many are open.
    func counted(_ body: () async throws -> Void) async throws {
        guard core.openStream() else {
            throw RPCError(
                code: .resourceExhausted,
                message: "\(MasterCore.streamLimit) streams are open on this master already")
        }
        defer { core.closeStream() }
        try await body()
    }

    // MARK: Configuration

    func getMasterConfiguration(
        request: MasterPb_GetMasterConfigurationRequest, context: ServerContext
    ) async throws -> MasterPb_GetMasterConfigurationResponse {
        .with {
            $0.metricsIntervalSeconds = 15
            let replication = core.configuration.defaultReplication
            $0.defaultReplication = replication == .single ? "" : replication.description
            $0.leader = core.longAddress
            $0.volumeSizeLimitMB = UInt32(clamping: core.configuration.volumeSizeLimitMB)
            $0.maintenanceSleepMinutes = 17
            $0.topologyID = core.topologyID
            $0.masters = [core.longAddress]
        }
    }

    // MARK: File ids

    func assign(
        request: MasterPb_AssignRequest, context: ServerContext
    ) async throws -> MasterPb_AssignResponse {
        let wish = try core.wish(request)
        if let assigned = core.assignNow(wish) { return .init(assigned) }
        do throws(AssignRefusal) {
            return .init(try await core.assign(wish))
        } catch {
            throw RPCError(error, hasServers: core.hasServers)
        }
    }

    func streamAssign(
        request: RPCAsyncSequence<MasterPb_AssignRequest, any Error>,
        response: RPCWriter<MasterPb_AssignResponse>, context: ServerContext
    ) async throws {
        try await counted {
            for try await one in request {
                try await response.write(assign(request: one, context: context))
            }
        }
    }

    // MARK: Locations

    func lookupVolume(
        request: MasterPb_LookupVolumeRequest, context: ServerContext
    ) async throws -> MasterPb_LookupVolumeResponse {
        guard request.volumeOrFileIds.count <= MasterRPC.lookupLimit else {
            throw RPCError(
                code: .invalidArgument,
                message: "\(request.volumeOrFileIds.count) ids in one look-up, at most "
                    + "\(MasterRPC.lookupLimit) are answered")
        }
        return .with {
            $0.volumeIDLocations = request.volumeOrFileIds.map {
                core.locations(of: $0, collection: request.collection)
            }
        }
    }

    func lookupEcVolume(
        request: MasterPb_LookupEcVolumeRequest, context: ServerContext
    ) async throws -> MasterPb_LookupEcVolumeResponse {
        throw RPCError(code: .unknown, message: "ec volume \(request.volumeID) not found")
    }

    // MARK: Life signs

    func ping(
        request: MasterPb_PingRequest, context: ServerContext
    ) async throws -> MasterPb_PingResponse {
        let start = UnixTime.nanoseconds
        guard !request.target.isEmpty else {
            return .with {
                $0.startTimeNs = start
                $0.remoteTimeNs = start
                $0.stopTimeNs = UnixTime.nanoseconds
            }
        }
        guard let address = core.peer(request.target, type: request.targetType) else {
            throw RPCError(
                code: .invalidArgument,
                message: "unknown ping target \(request.target.prefix(300)) of type "
                    + "\(request.targetType.prefix(64))")
        }
        let remote = try await peers.ping(address, request.targetType)
        return .with {
            $0.startTimeNs = start
            $0.remoteTimeNs = remote
            $0.stopTimeNs = UnixTime.nanoseconds
        }
    }
}

/// How a master reaches volume servers.
struct PeerSource: Sendable {
    /// A volume server at an address.
    let volumeServer: @Sendable (PeerAddress) -> any VolumeServerPeer
    /// Asks a server of a type for its time, unix nanoseconds.
    let ping: @Sendable (PeerAddress, String) async throws -> Int64
}

extension PeerSource {
    /// How long a ping may take.
    private static let pingTimeout = Duration.seconds(5)

    /// Over gRPC.
    init(_ channels: PeerChannels) {
        volumeServer = { GRPCVolumeServerPeer($0, channels: channels) }
        ping = { address, type in
            try await channels.call(address, timeout: PeerSource.pingTimeout) { client, options in
                switch type {
                case "volumeServer":
                    return try await VolumeServerPb_VolumeServer.Client(wrapping: client)
                        .ping(.init(), options: options).startTimeNs
                case "filer":
                    // Its messages are those of a master.
                    return try await client.unary(
                        request: ClientRequest(message: MasterPb_PingRequest()),
                        descriptor: MethodDescriptor(
                            service: ServiceDescriptor(
                                fullyQualifiedService: "filer_pb.SeaweedFiler"), method: "Ping"),
                        serializer: ProtobufSerializer<MasterPb_PingRequest>(),
                        deserializer: ProtobufDeserializer<MasterPb_PingResponse>(),
                        options: options
                    ) { try $0.message.startTimeNs }
                default:
                    return try await MasterPb_Seaweed.Client(wrapping: client)
                        .ping(.init(), options: options).startTimeNs
                }
            }
        }
    }
}

extension MasterCore {
    /// `host:port.grpcPort` of this master.
    var longAddress: String {
        address.withLock { "\(MasterCore.bracketed($0.host)):\($0.port).\($0.grpcPort)" }
    }

    /// Whether any volume server is connected.
    var hasServers: Bool { shared.withLock { !$0.topology.servers.isEmpty } }

    /// What an assign over gRPC asks for.
    fileprivate func wish(_ message: MasterPb_AssignRequest) throws -> AssignRequest {
        var wish = AssignRequest(
            layout: try layout(
                collection: message.collection, replication: message.replication,
                ttl: message.ttl, diskType: message.diskType))
        guard message.count <= AssignRequest.countLimit else {
            throw RPCError(
                code: .unknown,
                message: "count \(message.count) is more than \(AssignRequest.countLimit) file "
                    + "ids at once: ask several times")
        }
        wish.count = max(1, message.count)
        wish.whereabouts = Whereabouts(
            dataCenter: message.dataCenter, rack: message.rack, node: message.dataNode)
        wish.volumes = min(Int(message.writableVolumeCount), Parameters.volumesLimit)
        wish.fileBytes = message.expectedDataSize
        let isKnown = shared.withLock { shared in
            message.dataCenter.isEmpty || shared.topology.racks[message.dataCenter] != nil
        }
        guard isKnown else {
            throw RPCError(
                code: .unknown,
                message: "data center \(message.dataCenter.prefix(255)) not found in topology")
        }
        return wish
    }

    /// Which volumes a request means.
    func layout(
        collection: String, replication: String, ttl: String, diskType: String
    ) throws -> LayoutKey {
        guard VolumeName.isValid(collection: collection) else {
            throw RPCError(
                code: .unknown,
                message: "collection \"\(collection.prefix(255))\" cannot be part of a file name")
        }
        do {
            return LayoutKey(
                collection: collection,
                replication: replication.isEmpty
                    ? configuration.defaultReplication
                    : try ReplicaPlacement(parsing: replication),
                ttl: try TimeToLive(parsing: ttl), diskType: diskType)
        } catch {
            throw RPCError(code: .unknown, message: "\(error)")
        }
    }

    /// Where a volume is; `text` may be the id of one of its files.
    fileprivate func locations(
        of text: String, collection: String
    ) -> MasterPb_LookupVolumeResponse.VolumeIdLocation {
        let number = String(text.prefix { $0 != "," })
        return .with { answer in
            answer.volumeOrFileID = number
            guard let id = MasterHandler.volumeID(number) else {
                answer.error = "unknown volume id \(number)"
                return
            }
            let warming = shared.withLock { shared -> Int? in
                shared.lookedUp &+= 1
                let topology = shared.topology
                if let entry = topology.volumes[id],
                    collection.isEmpty
                        || topology.layouts[entry.layout].key.collection == collection
                {
                    answer.locations = entry.holders.compactMap { topology.servers[$0] }.map {
                        MasterPb_Location($0.location)
                    }
                }
                return shared.warmUp.secondsLeft(now: .now)
            }
            guard answer.locations.isEmpty else { return }
            answer.error =
                warming == nil
                ? "volume id \(number) not found" : "service warming up, please retry"
        }
    }

    /// A server that can be pinged.
    fileprivate func peer(_ target: String, type: String) -> PeerAddress? {
        guard let wanted = PeerAddress(target) else { return nil }
        return shared.withLock { shared in
            switch type {
            case "volumeServer":
                guard let server = shared.topology.server(at: wanted.http) else { return nil }
                return PeerAddress(server.url).map {
                    PeerAddress(host: $0.host, port: $0.port, grpcPort: server.grpcPort)
                }
            case "master":
                let own = address.withLock { ($0.host, $0.port) }
                return wanted == PeerAddress(host: own.0, port: own.1) ? wanted : nil
            case "filer":
                let filers = shared.watchers.addresses(ofType: type)
                return filers.contains { PeerAddress($0) == wanted } ? wanted : nil
            default: return nil
            }
        }
    }
}

extension MasterPb_Location {
    /// A server that holds a volume.
    init(_ server: ServerLocation) {
        self.init()
        url = server.url
        publicURL = server.publicURL
        grpcPort = UInt32(clamping: server.grpcPort)
        dataCenter = server.dataCenter
    }

    fileprivate init(_ target: AssignTarget) {
        self.init()
        url = target.url
        publicURL = target.publicURL
        grpcPort = UInt32(clamping: target.grpcPort)
        dataCenter = target.dataCenter
    }
}

extension MasterPb_AssignResponse {
    fileprivate init(_ assigned: Assigned) {
        self.init()
        fid = assigned.fid.description
        count = assigned.count
        location = MasterPb_Location(assigned.target)
        if assigned.copies.count > 1 {
            replicas = assigned.copies.filter { $0 !== assigned.target }.map {
                MasterPb_Location($0)
            }
        }
    }
}

extension RPCError {
    /// The status that makes a caller do what helps: try again, or give up.
    fileprivate init(_ refusal: AssignRefusal, hasServers: Bool) {
        switch refusal {
        case .noFreeSlots(let layout, _) where !hasServers:
            self.init(
                code: .resourceExhausted,
                message: "no volume server capacity registered yet for \(layout)")
        case .noFreeSlots, .log(.storage): self.init(code: .unknown, message: "\(refusal)")
        case .growing, .overloaded, .log(.overloaded):
            self.init(code: .resourceExhausted, message: "\(refusal)")
        case .warmingUp: self.init(code: .unavailable, message: "\(refusal)")
        }
    }
}

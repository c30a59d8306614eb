import Glibc
import HTTPServer
import Logging
import Model
import NIOCore
import Synchronization
import Wire

extension MasterHandler {
    // MARK: Routes without parameters

    /// The answer to a route that needs nothing but what the master knows.
    func simpleReply(_ route: Route, _ request: HTTPRequest) -> Reply {
        let isReading = request.method == .get || request.method == .head
        switch route {
        case .health: return .empty(200)
        case .ready, .clusterHealth:
            return isReading ? .empty(200) : .methodNotAllowed("GET, HEAD")
        case .clusterStatus:
            let pretty = !(request.query["pretty"] ?? "").isEmpty
            return isReading ? clusterStatus(pretty: pretty) : .methodNotAllowed("GET, HEAD")
        case .page:
            let address = core.advertised
            let page = StatusPage.html(core.topology, address: address, core: core)
            return Reply(status: 200, contentType: Reply.html, body: Array(page.utf8))
        case .favicon:
            return Reply(
                status: 200, contentType: "image/svg+xml", body: Array(StatusPage.icon.utf8))
        case .statsCounter: return counters(pretty: !(request.query["pretty"] ?? "").isEmpty)
        case .statsMemory: return memory(pretty: !(request.query["pretty"] ?? "").isEmpty)
        default: return .notFound
        }
    }

    private func clusterStatus(pretty: Bool) -> Reply {
        let leader = core.address.withLock {
            "\(MasterCore.bracketed($0.host)):\($0.port).\($0.grpcPort)"
        }
        let max = core.shared.withLock { $0.topology.acceptedVolumeID }
        return .json(pretty: pretty) {
            $0.object {
                $0.field("IsLeader", true)
                $0.field("Leader", leader)
                if max > 0 { $0.field("MaxVolumeId", max) }
            }
        }
    }

    private func counters(pretty: Bool) -> Reply {
        let (assigned, lookedUp) = core.shared.withLock { ($0.assigned, $0.lookedUp) }
        return .json(pretty: pretty) {
            $0.object {
                $0.object("Counters") {
                    $0.field("Assigned", assigned)
                    $0.field("LookedUp", lookedUp)
                }
                $0.field("Version", core.configuration.version)
            }
        }
    }

    private func memory(pretty: Bool) -> Reply {
        var usage = rusage()
        unsafe getrusage(RUSAGE_SELF.rawValue, &usage)
        return .json(pretty: pretty) {
            $0.object {
                $0.object("Memory") { $0.field("Self", UInt64(max(0, usage.ru_maxrss)) << 10) }
                $0.field("Version", core.configuration.version)
            }
        }
    }

    // MARK: Routes with parameters

    func administer(
        _ route: Route, _ parameters: Parameters, _ request: HTTPRequest, _ exchange: Exchange
    ) {
        switch route {
        case .status: directoryStatus(parameters).send(request, exchange)
        case .volumeStatus: volumeStatus(parameters).send(request, exchange)
        case .volumeLookup: volumeLookup(parameters).send(request, exchange)
        case .collectionInfo: collectionInfo(parameters).send(request, exchange)
        default:
            Task {
                let reply =
                    switch route {
                    case .volumeGrow: await growVolumes(parameters)
                    case .volumeVacuum: await vacuumVolumes(parameters)
                    case .collectionDelete: await deleteCollection(parameters)
                    case .delete: await deleteFiles(parameters, on: exchange.eventLoop)
                    default: Reply.notFound
                    }
                reply.sendLater(request, exchange)
            }
        }
    }

    private func directoryStatus(_ parameters: Parameters) -> Reply {
        .json(pretty: parameters.isPretty) {
            $0.object { json in
                json.key("Topology")
                core.topology.writeStatus(to: &json)
                json.field("TopologyId", core.topologyID)
                json.field("Version", core.configuration.version)
            }
        }
    }

    private func volumeStatus(_ parameters: Parameters) -> Reply {
        .json(pretty: parameters.isPretty) {
            $0.object { json in
                json.field("Version", core.configuration.version)
                json.key("Volumes")
                core.topology.writeVolumes(to: &json)
            }
        }
    }

    private func collectionInfo(_ parameters: Parameters) -> Reply {
        let name = parameters["collection"]
        let pretty = parameters.isPretty
        if name.isEmpty { return .error(400, "collection is required", pretty: pretty) }
        let version = core.configuration.version
        let topology = core.topology
        let layouts = topology.shownLayouts.filter { $0.key.collection == name }
        guard !layouts.isEmpty else {
            return .error(400, "collection \(name) does not exist", pretty: pretty)
        }
        return .json(pretty: pretty) { json in
            guard parameters["detail"] == "true" else {
                return topology.writeCollection(
                    name, layouts, counted: true, version: version, to: &json)
            }
            json.array {
                for layout in layouts {
                    topology.writeCollection(
                        name, [layout], counted: false, version: version, to: &$0)
                }
            }
        }
    }

    private func growVolumes(_ parameters: Parameters) async -> Reply {
        let pretty = parameters.isPretty
        let layout: LayoutKey
        do {
            layout = try parameters.layout(core.configuration)
        } catch {
            return .error(406, error.description, pretty: pretty)
        }
        let text = parameters["count"]
        guard let count = UInt32(text) else {
            return .error(406, "can not parse parameter count \(text)", pretty: pretty)
        }
        let (wanted, overflow) = Int(count).multipliedReportingOverflow(
            by: layout.replication.copies)
        let free = core.shared.withLock { $0.topology.free(layout.diskType) }
        guard !overflow, free >= wanted else {
            return .error(
                406, "only \(free) volumes left, not enough for \(overflow ? .max : wanted)",
                pretty: pretty)
        }
        let report = await core.grow(
            GrowthPlan(
                layout: layout, whereabouts: parameters.whereabouts, volumes: Int(count),
                preallocate: UInt64(parameters["preallocate"]) ?? 0)
        ) {}
        if let failure = report.failure { return .error(406, failure, pretty: pretty) }
        return .json(pretty: pretty) { $0.object { $0.field("count", report.copies) } }
    }

    private func vacuumVolumes(_ parameters: Parameters) async -> Reply {
        let text = parameters["garbageThreshold"]
        var threshold = core.configuration.garbageThreshold
        if !text.isEmpty {
            guard let value = Double(text), value.isFinite else {
                return .error(
                    406, "garbageThreshold \(text) is not a valid float number",
                    pretty: parameters.isPretty)
            }
            threshold = value
        }
        await core.vacuum(VacuumWish(threshold: threshold))
        return directoryStatus(parameters)
    }

    private func deleteCollection(_ parameters: Parameters) async -> Reply {
        let name = parameters["collection"]
        let pretty = parameters.isPretty
        if name.isEmpty { return .error(400, "collection is required", pretty: pretty) }
        do {
            guard try await core.deleteCollection(name) else {
                return .error(400, "collection \(name) does not exist", pretty: pretty)
            }
            return .empty(204)
        } catch {
            return .error(500, error.description, pretty: pretty)
        }
    }
}

extension MasterCore {
    /// Deletes every volume of a collection.
    ///
    /// Returns whether there was one.
    func deleteCollection(_ name: String) async throws(PeerError) -> Bool {
        let servers = shared.withLock { shared in
            let holders = shared.topology.volumes(ofCollection: name).flatMap(\.holders)
            return Set(holders).sorted().compactMap { shared.topology.servers[$0] }
                .map { (key: $0.key, url: $0.url, peer: $0.peer) }
        }
        if servers.isEmpty { return false }
        var failures: [String] = []
        for server in servers {
            do throws(PeerError) {
                try await server.peer.deleteCollection(name)
            } catch {
                if error.kind != .notFound {
                    failures.append("\(server.url): \(error)")
                    continue
                }
            }
            change { shared in
                for entry in shared.topology.volumes(ofCollection: name)
                where entry.holders.contains(server.key) {
                    shared.topology.deleted(entry.id, on: server.key)
                }
            }
        }
        guard failures.isEmpty else {
            throw PeerError(
                .failed,
                "collection \(name) is deleted except on \(failures.joined(separator: "; ")): "
                    + "delete it again when this is repaired")
        }
        logger.info("collection deleted", metadata: ["collection": "\(name)"])
        return true
    }
}

import GRPCCore
import Model
import RPC
import Synchronization
import Wire
import SwiftProtobuf
import WireMessages

extension MasterRPC {
    // MARK: Collections

    func collectionList(
        request: MasterPb_CollectionListRequest, context: ServerContext
    ) async throws -> MasterPb_CollectionListResponse {
        // Without either flag both kinds are meant; there are no others here than normal volumes.
        guard request.includeNormalVolumes || !request.includeEcVolumes else { return .init() }
        let names = Set(core.topology.shownLayouts.map(\.key.collection))
        return .with { $0.collections = names.sorted().map { name in .with { $0.name = name } } }
    }

    func collectionDelete(
        request: MasterPb_CollectionDeleteRequest, context: ServerContext
    ) async throws -> MasterPb_CollectionDeleteResponse {
        guard !request.name.isEmpty else {
            throw RPCError(
                code: .invalidArgument,
                message: "collection is required: the default collection is not deleted at once")
        }
        _ = try await core.deleteCollection(request.name)
        return .init()
    }

    func statistics(
        request: MasterPb_StatisticsRequest, context: ServerContext
    ) async throws -> MasterPb_StatisticsResponse {
        let layout = try core.layout(
            collection: request.collection, replication: request.replication, ttl: request.ttl,
            diskType: request.diskType)
        let topology = core.topology
        let usage = topology.usage(ofCollection: request.collection)
        let slots = topology.slots
        let limit = topology.volumeSizeLimit
        let copies = UInt64(layout.replication.copies)
        return .with {
            $0.totalSize = limit.multipliedOrMost(UInt64(slots.max))
            $0.usedSize = usage.physicalSize
            $0.fileCount = usage.files
            $0.logicalUsedSize = usage.size
            let free = limit.multipliedOrMost(UInt64(slots.free)) / copies
            $0.logicalTotalSize = usage.size.addingOrMost(free)
        }
    }

    func collectionStatistics(
        request: MasterPb_CollectionStatisticsRequest, context: ServerContext
    ) async throws -> MasterPb_CollectionStatisticsResponse {
        let topology = core.topology
        let names = Set(topology.shownLayouts.map(\.key.collection))
        return .with {
            $0.collections = names.sorted().map { name in
                let usage = topology.usage(ofCollection: name, isExact: true)
                return .with {
                    $0.collection = name
                    $0.fileCount = usage.files
                    $0.deleteCount = usage.deletes
                    $0.deletedByteCount = usage.deletedBytes
                    $0.size = usage.size
                    $0.physicalSize = usage.physicalSize
                    $0.volumeCount = usage.volumes
                }
            }
        }
    }

    // MARK: Volumes

    func volumeList(
        request: MasterPb_VolumeListRequest, context: ServerContext
    ) async throws -> MasterPb_VolumeListResponse {
        core.topology.listing(VolumeFilter(request))
    }

    func volumeListStream(
        request: MasterPb_VolumeListRequest,
        response: RPCWriter<MasterPb_VolumeListStreamResponse>, context: ServerContext
    ) async throws {
        let topology = core.topology
        var filter = VolumeFilter(request)
        let names = filter.isTopologyOnly ? nil : filter
        filter.isTopologyOnly = true
        try await response.write(.with { $0.header = topology.listing(filter) })
        guard let names else { return }
        for server in topology.sortedServers {
            for (disk, volumes) in server.volumesByDisk(names) {
                for start in stride(from: 0, to: volumes.count, by: VolumeFilter.batch) {
                    let batch = volumes[start..<min(start + VolumeFilter.batch, volumes.count)]
                    try await response.write(
                        .with {
                            $0.dataCenter = server.dataCenter
                            $0.rack = server.rack
                            $0.dataNode = server.url
                            $0.diskType = disk
                            $0.volumeInfos = batch.map(\.message)
                        })
                }
            }
        }
    }

    func volumeGrow(
        request: MasterPb_VolumeGrowRequest, context: ServerContext
    ) async throws -> MasterPb_VolumeGrowResponse {
        let layout = try core.layout(
            collection: request.collection, replication: request.replication, ttl: request.ttl,
            diskType: request.diskType)
        let count =
            request.writableVolumeCount > 0
            ? Int(request.writableVolumeCount)
            : GrowthRule.volumes(copies: layout.replication.copies)
        let (wanted, overflow) = count.multipliedReportingOverflow(by: layout.replication.copies)
        let free = core.shared.withLock { $0.topology.free(layout.diskType) }
        guard !overflow, free >= wanted else {
            throw RPCError(
                code: .unknown, message: "only \(free) volumes left, not enough for \(wanted)")
        }
        let report = await core.grow(
            GrowthPlan(
                layout: layout,
                whereabouts: Whereabouts(
                    dataCenter: request.dataCenter, rack: request.rack, node: request.dataNode),
                volumes: count)
        ) {}
        if let failure = report.failure { throw RPCError(code: .unknown, message: failure) }
        return .init()
    }

    // MARK: Vacuum

    func vacuumVolume(
        request: MasterPb_VacuumVolumeRequest, context: ServerContext
    ) async throws -> MasterPb_VacuumVolumeResponse {
        let threshold = Double(request.garbageThreshold)
        guard threshold.isFinite else {
            throw RPCError(code: .invalidArgument, message: "garbage_threshold is no number")
        }
        await core.vacuum(
            VacuumWish(
                threshold: threshold, volume: request.volumeID > 0 ? request.volumeID : nil,
                collection: request.collection.isEmpty ? nil : request.collection))
        return .init()
    }

    func disableVacuum(
        request: MasterPb_DisableVacuumRequest, context: ServerContext
    ) async throws -> MasterPb_DisableVacuumResponse {
        core.shared.withLock { $0.isVacuumDisabled = true }
        return .init()
    }

    func enableVacuum(
        request: MasterPb_EnableVacuumRequest, context: ServerContext
    ) async throws -> MasterPb_EnableVacuumResponse {
        core.shared.withLock { $0.isVacuumDisabled = false }
        return .init()
    }

    // MARK: Locks

    func leaseAdminToken(
        request: MasterPb_LeaseAdminTokenRequest, context: ServerContext
    ) async throws -> MasterPb_LeaseAdminTokenResponse {
        var system = SystemRandomNumberGenerator()
        let outcome = core.shared.withLock {
            shared -> Result<(token: Int64, time: Int64), AdminLockRefusal> in
            do throws(AdminLockRefusal) {
                return .success(
                    try shared.adminLocks.lease(
                        request.lockName, token: request.previousToken,
                        time: request.previousLockTime, client: request.clientName,
                        message: request.message, now: UnixTime.nanoseconds, random: &system))
            } catch {
                return .failure(error)
            }
        }
        let lease = try outcome.get()
        return .with {
            $0.token = lease.token
            $0.lockTsNs = lease.time
        }
    }

    func releaseAdminToken(
        request: MasterPb_ReleaseAdminTokenRequest, context: ServerContext
    ) async throws -> MasterPb_ReleaseAdminTokenResponse {
        core.shared.withLock {
            $0.adminLocks.release(
                request.lockName, token: request.previousToken, time: request.previousLockTime)
        }
        return .init()
    }

    func getAdminLockStatus(
        request: MasterPb_GetAdminLockStatusRequest, context: ServerContext
    ) async throws -> MasterPb_GetAdminLockStatusResponse {
        let held = core.shared.withLock {
            $0.adminLocks.status(request.lockName, now: UnixTime.nanoseconds)
        }
        return .with {
            $0.isLocked = held != nil
            $0.clientName = held?.client ?? ""
            $0.message = held?.message ?? ""
        }
    }

    // MARK: Masters

    func raftListClusterServers(
        request: MasterPb_RaftListClusterServersRequest, context: ServerContext
    ) async throws -> MasterPb_RaftListClusterServersResponse {
        let (host, grpcPort) = core.address.withLock {
            (MasterCore.bracketed($0.host), $0.grpcPort)
        }
        return .with {
            $0.clusterServers = [
                .with {
                    $0.id = core.longAddress
                    $0.address = "\(host):\(grpcPort)"
                    $0.suffrage = "Voter"
                    $0.isLeader = true
                }
            ]
        }
    }
}

import Model
import RPC
import SwiftProtobuf
import Testing
import WireMessages

@Suite struct MessageTests {
    @Test("A volume goes over the wire and back")
    func volume() throws {
        let volume = VolumeInfo(
            id: 7, collection: "pics", replication: try ReplicaPlacement(parsing: "112"),
            ttl: try TimeToLive(parsing: "3d"), diskType: "ssd", diskID: 2, size: 1 << 40,
            fileCount: 12, deleteCount: 3, deletedByteCount: 99, modifiedAtSecond: 1_700_000_000,
            version: 3, compactRevision: 65535, readOnlyReason: "full", readOnlyCanDelete: true)
        let bytes: [UInt8] = try volume.message.serializedBytes()
        let read = try MasterPb_VolumeInformationMessage(serializedBytes: bytes)
        #expect(read.replicaPlacement == 112)
        #expect(read.ttl == 3 * 256 + 3)
        #expect(VolumeInfo(read) == volume)

        let short = try MasterPb_VolumeShortInformationMessage(
            serializedBytes: volume.shortMessage.serializedBytes() as [UInt8])
        let brief = VolumeInfo(short)
        #expect(brief.id == 7 && brief.collection == "pics" && brief.ttl == volume.ttl)
        #expect(brief.replication == volume.replication && brief.diskType == "ssd")
        #expect(brief.isReadOnly && brief.readOnlyCanDelete)
    }

    @Test("Absurd numbers of another server are cut down, not trusted and not fatal")
    func absurd() {
        var message = MasterPb_VolumeInformationMessage()
        message.id = .max
        message.replicaPlacement = .max
        message.ttl = .max
        message.version = .max
        message.compactRevision = .max
        message.modifiedAtSecond = .min
        message.size = .max
        let volume = VolumeInfo(message)
        #expect(volume.id == .max && volume.size == .max && volume.version == 255)
        #expect(volume.ttl.isNone)
    }

    @Test("The tags on the wire are those of the original")
    func tags() throws {
        var beat = MasterPb_Heartbeat()
        beat.ip = "a"
        beat.port = 1
        beat.maxFileKey = 2
        beat.hasNoVolumes_p = true
        beat.grpcPort = 3
        beat.locationUuids = ["u"]
        beat.volumeDigest = 0
        // (field << 3 | wire type), then the value: written by hand from the list of fields
        let expected: [UInt8] =
            [0x0a, 1, 0x61] + [0x10, 1] + [0x28, 2] + [0x60, 1] + [0xa0, 0x01, 3]
            + [0xaa, 0x01, 1, 0x75] + [0xd8, 0x01, 0]
        #expect(try beat.serializedBytes() as [UInt8] == expected)
        beat.clearVolumeDigest()
        #expect(try beat.serializedBytes() as [UInt8] == Array(expected.dropLast(3)))
    }

    @Test("Fields of later releases are passed over and kept")
    func unknownFields() throws {
        var beat = MasterPb_Heartbeat()
        beat.ip = "a"
        let later: [UInt8] = [0xf8, 0x3e, 1]
        let bytes: [UInt8] = try beat.serializedBytes() + later
        let read = try MasterPb_Heartbeat(serializedBytes: bytes)
        #expect(read.ip == "a")
        #expect(try read.serializedBytes() as [UInt8] == bytes)
    }

    @Test("The three parts of a KeepConnected answer are fields of their own")
    func parts() throws {
        var answer = MasterPb_KeepConnectedResponse()
        answer.volumeLocation.leader = "m"
        answer.lockRingUpdate.version = 1
        let read = try MasterPb_KeepConnectedResponse(
            serializedBytes: answer.serializedBytes() as [UInt8])
        #expect(read.hasVolumeLocation && read.hasLockRingUpdate && !read.hasClusterNodeUpdate)
    }
}

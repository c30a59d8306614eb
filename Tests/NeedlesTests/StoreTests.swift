import Glibc
import Model
import NIOCore
import Platform
import Synchronization
import Testing

@testable import Needles

@Suite struct StoreTests {
    private func configuration(_ scratches: [Scratch], max: Int = 10) -> StoreConfiguration {
        var configuration = StoreConfiguration(
            directories: scratches.map { .init(path: $0.path, maxVolumes: max) })
        configuration.commitThreads = 2
        return configuration
    }

    @Test func volumesComeBackWithTheirCollections() throws {
        let scratch = Scratch()
        let id: String
        do {
            let store = try VolumeStore(configuration([scratch]), logger: quiet)
            id = store.serverID
            #expect(id.count == 36)
            let plain = try store.create(
                1, collection: "", replication: .single, ttl: .none, diskType: "")
            let named = try store.create(
                2, collection: "my_pics", replication: try ReplicaPlacement(parsing: "001"),
                ttl: TimeToLive(minutes: 60), diskType: "")
            try plain.put(1, [1])
            try named.put(2, [2])
            #expect(throws: NeedleError.exists(1)) {
                try store.create(1, collection: "x", replication: .single, ttl: .none, diskType: "")
            }
            store.close()
        }
        let store = try VolumeStore(configuration([scratch]), logger: quiet)
        #expect(store.serverID == id)
        #expect(store.volumes.map(\.id) == [1, 2])
        let named = try #require(store.volume(2))
        #expect(named.info.collection == "my_pics" && named.info.ttl.description == "1h")
        #expect(named.info.replication.description == "001")
        #expect(try named.get(2) == [2])
        #expect(try store.deleteCollection("my_pics") == [2])
        guard case .absent = store.lookup(2) else {
            Issue.record("volume 2 was deleted")
            return
        }
        #expect(scratch.names.filter { $0.hasPrefix("my_pics_2") } == [])
        store.close()
    }

    @Test func aDirectoryInUseIsRefused() throws {
        let scratch = Scratch()
        let store = try VolumeStore(configuration([scratch]), logger: quiet)
        let error = NeedleError.inUse(directory: scratch.path, pid: Int(getpid()))
        #expect(throws: error) { try VolumeStore(configuration([scratch]), logger: quiet) }
        #expect(
            error.description
                == "\(scratch.path) is in use by pid \(getpid()); stop it first, or choose another -dir"
        )
        store.close()
    }

    @Test func oneBadVolumeDoesNotStopTheOthers() throws {
        let scratch = Scratch()
        do {
            let store = try VolumeStore(configuration([scratch]), logger: quiet)
            for id in VolumeID(1)...4 {
                let volume = try store.create(
                    id, collection: "", replication: .single, ttl: .none, diskType: "")
                try volume.put(1, [UInt8(id)])
            }
            store.close()
        }
        try scratch.edit("2.dat") { $0[0] = 9 }
        try scratch.write("3.dat", [3, 0, 0])
        let store = try VolumeStore(configuration([scratch]), logger: quiet)
        #expect(store.volumes.map(\.id) == [1, 4])
        #expect(
            store.failedVolumes == [
                2: "volume 2: at offset 0 expected format version 1, 2 or 3, found 9",
                3: "volume 3: at offset 0 expected a superblock of 8 bytes, found 3 bytes",
            ])
        #expect(try store.volume(4)?.get(1) == [4])
        store.close()
    }

    @Test func aFullStoreSaysWhy() throws {
        let scratches = [Scratch(), Scratch()]
        let store = try VolumeStore(configuration(scratches, max: 1), logger: quiet)
        for id in VolumeID(1)...2 {
            _ = try store.create(id, collection: "", replication: .single, ttl: .none, diskType: "")
        }
        let text =
            "no room for another volume: \(scratches[0].path): holds 1 volumes, its -max; "
            + "\(scratches[1].path): holds 1 volumes, its -max"
        #expect(throws: NeedleError.diskFull(text)) {
            try store.create(3, collection: "", replication: .single, ttl: .none, diskType: "")
        }
        #expect(store.maxVolumes == ["": 2])
        store.close()
    }

    @Test func writersFromManyThreadsAreAllAnswered() throws {
        let scratch = Scratch()
        let store = try VolumeStore(configuration([scratch]), logger: quiet)
        let volume = try store.create(
            1, collection: "", replication: .single, ttl: .none, diskType: "")
        let threads = (0..<4).map { lane in
            TestThread {
                for index in 0..<200 {
                    let key = NeedleKey(lane * 1000 + index + 1)
                    _ = try? volume.put(key, pattern(key, 64))
                }
            }
        }
        for thread in threads { thread.join() }
        for lane in 0..<4 {
            for index in 0..<200 {
                let key = NeedleKey(lane * 1000 + index + 1)
                #expect(try volume.get(key) == pattern(key, 64))
            }
        }
        #expect(volume.info.fileCount == 800)
        store.close()
        let again = try VolumeStore(configuration([scratch]), logger: quiet)
        #expect(try again.volume(1)?.get(3200) == pattern(3200, 64))
        again.close()
    }

    @Test func tooManyWaitingWritesAreRefused() throws {
        let bench = Bench()
        let volume = try bench.create()
        let gate = Completion<Bool>()
        let answered = Counter()
        let refused = Counter()
        let isBusy = Completion<Bool>()
        volume.enqueue(
            .exclusive {
                isBusy.complete(true)
                _ = gate.wait()
            })
        _ = isBusy.wait()
        let total = OperationQueue.maximumCount + 100
        let all = Completion<Bool>()
        for index in 0..<total {
            volume.write(
                NeedleKey(index + 1), cookie: 1,
                NeedleContent(body: .bytes(ByteBuffer(integer: UInt8(1))))
            ) { result in
                if case .failure(.overloaded) = result { _ = refused.next() }
                if answered.next() == total { all.complete(true) }
            }
        }
        gate.complete(true)
        _ = all.wait()
        #expect(refused.count == 100)
        volume.close()
    }
}

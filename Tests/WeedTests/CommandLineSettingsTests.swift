import ArgumentParser
import Model
import Testing

@testable import weed

@Suite("Command line: weed master and weed volume")
struct CommandLineSettingsTests {
    private func parse<Command: ParsableCommand>(
        _ type: Command.Type, _ arguments: [String]
    ) throws -> Command {
        let line = try CommandLineForm(arguments)
        return try #require(try Weed.parseAsRoot(line.arguments) as? Command)
    }

    private func message(_ arguments: String...) -> String {
        do {
            _ = try Weed.parseAsRoot(CommandLineForm(arguments).arguments)
            return "accepted"
        } catch let error as UsageError {
            return error.message
        } catch {
            return Weed.message(for: error)
        }
    }

    @Test("the defaults of weed master are those of the Go original")
    func masterDefaults() throws {
        let command = try parse(MasterCommand.self, ["master", "-mdir=/m", "-ip=10.0.0.1"])
        let (process, master) = try command.settings()
        #expect(master.directory == "/m")
        #expect(master.ports == (9333, 19_333))
        #expect(master.volumeSizeLimit == 30_720 << 20)
        #expect(master.defaultReplication == .single)
        #expect(master.garbageThreshold == 0.3)
        #expect(master.vacuumIntervalSeconds == 840)
        #expect(!master.isHTTPDisabled)
        #expect(process.bind == "10.0.0.1")
    }

    @Test("the defaults of weed volume are those of the Go original, but durable")
    func volumeDefaults() throws {
        let command = try parse(VolumeCommand.self, ["volume", "-dir=/v"])
        let (process, volume) = try command.settings()
        #expect(volume.directories == [.init(path: "/v", maxVolumes: 8, diskType: "")])
        #expect(volume.ports == (8080, 18_080, 0))
        #expect(volume.masters.addresses == ["localhost:9333"])
        #expect(volume.fileSizeLimit == 256 << 20)
        #expect(volume.readMode == .proxy)
        #expect(volume.preStopSeconds == 10)
        #expect(volume.minFreeSpace == .percent(1))
        #expect(volume.sync == .always)
        #expect(volume.publicURL == nil)
        #expect(volume.id == nil)
        #expect(process.idleSeconds == 30)
    }

    @Test("every flag of weed volume arrives where it belongs")
    func volumeFlags() throws {
        let command = try parse(
            VolumeCommand.self,
            [
                "volume", "-dir=/a,/b", "-max", "100,0", "-mserver=m1:9333,m2:9334.1234",
                "-port=2", "-port.grpc=3", "-port.public=4", "-publicUrl=e.org:80", "-id=one",
                "-dataCenter=dc", "-rack=r", "-disk=ssd,hdd", "-readMode=local",
                "-fileSizeLimitMB=7", "-idleTimeout=9", "-preStopSeconds=0", "-minFreeSpace=10GiB",
                "-compactionMBps=5", "-sync=none", "-ip=h", "-ip.bind=::", "-whiteList=10.0.0.1",
            ])
        let (process, volume) = try command.settings()
        #expect(
            volume.directories == [
                .init(path: "/a", maxVolumes: 100, diskType: "ssd"),
                .init(path: "/b", maxVolumes: 0, diskType: "hdd"),
            ])
        #expect(volume.masters.masters.map(\.long) == ["m1:9333.19333", "m2:9334.1234"])
        #expect(volume.ports == (2, 3, 4))
        #expect(volume.publicURL == "e.org:80")
        #expect(volume.id == "one")
        #expect((volume.dataCenter, volume.rack) == ("dc", "r"))
        #expect(volume.readMode == .local)
        #expect(volume.fileSizeLimit == 7 << 20)
        #expect(volume.preStopSeconds == 0)
        #expect(volume.minFreeSpace == .bytes(10 << 30))
        #expect(volume.compactionBytesPerSecond == 5 << 20)
        #expect(volume.sync == .none)
        #expect((process.address.host, process.bind, process.idleSeconds) == ("h", "::", 9))
        #expect(process.whiteList == ["10.0.0.1"])
    }

    @Test(
        "free space as people write it",
        arguments: [
            ("1", .percent(1)), ("0.5", .percent(0.5)), ("100", .percent(100)),
            ("101", .bytes(101)), ("10GiB", .bytes(10 << 30)), ("10gb", .bytes(10_000_000_000)),
            ("5 MiB", .bytes(5 << 20)), ("7k", .bytes(7000)), ("8B", .bytes(8)),
            ("x", nil), ("", nil), ("-1", nil), ("10XiB", nil), ("99999PiB", nil),
        ] as [(String, FreeSpaceChoice?)])
    func freeSpace(text: String, expected: FreeSpaceChoice?) {
        #expect(FreeSpaceChoice(argument: text) == expected)
    }

    @Test(
        "masters as people write them",
        arguments: [
            ("a:1", ["a:1.10001"]), ("a:1,b:2", ["a:1.10001", "b:2.10002"]),
            ("a:1, b:2.5", ["a:1.10001", "b:2.5"]), ("a:1,a:1", ["a:1.10001"]),
            ("[::1]:9", ["[::1]:9.10009"]), ("", nil), ("a", nil), ("a:0", nil), ("a:1.", nil),
            ("a:1.2.3", nil), ("a:70000", nil), (":1", nil),
        ] as [(String, [String]?)])
    func masters(text: String, expected: [String]?) {
        #expect(MasterList(argument: text)?.masters.map(\.long) == expected)
    }

    @Test("a bad value is answered with what would be a good one")
    func badValues() {
        #expect(
            message("volume", "-max=1,2")
                == "-max has 2 values for 1 directories: give one, or one each")
        #expect(
            message("volume", "-port=8080", "-port.grpc=8080")
                == "-port and -port.grpc are the same: 8080")
        #expect(
            message("master", "-port=60000")
                == "the HTTP port 60000 leaves no room for a gRPC port 10000 above it: give -port.grpc"
        )
        #expect(
            message("master", "-peers=a:1,b:2")
                == "-peers=a:1,b:2: this version runs a single master; say -peers=none")
        #expect(
            message("volume", "-preStopSeconds=-1")
                == "-preStopSeconds=-1 is not a number of seconds from 0 to 3600")
        #expect(
            message("volume", "-images.fix.orientation")
                == "-images.fix.orientation is not taken: this server does not change images")
    }

    @Test("flags of the original without effect are told")
    func ignored() throws {
        let line = try CommandLineForm([
            "volume", "-index", "leveldb", "-hasSlowRead", "-dir=x",
        ])
        #expect(line.arguments == ["volume", "-dir=x"])
        #expect(line.notes.count == 2)
        let master = try CommandLineForm(["master", "-telemetry=false", "-electionTimeout", "3s"])
        #expect(master.arguments == ["master"])
        #expect(master.notes.count == 2)
    }

    @Test("a master and a volume server report what they are")
    func reports() throws {
        let master = try parse(MasterCommand.self, ["master", "-mdir=/m", "-ip=10.0.0.1"])
        let (process, settings) = try master.settings()
        #expect(
            StartReport(
                StartFacts(process: process, master: (settings, .init(http: 9333, grpc: 19_333))),
                took: .milliseconds(5)
            ).lines == [
                "weed \(Version.text) (\(Version.platform)): ready after 5.0 ms",
                "  master         http://10.0.0.1:9333",
                "  address        10.0.0.1: given by -ip",
                "  listening on   10.0.0.1",
                "  master state   /m",
            ])
        let volume = try parse(
            VolumeCommand.self, ["volume", "-dir=/v", "-ip=10.0.0.2", "-master=10.0.0.1:9333"])
        let (place, store) = try volume.settings()
        #expect(
            StartReport(
                StartFacts(process: place, volume: (store, .init(http: 8080, grpc: 99))),
                took: .milliseconds(5)
            ).lines == [
                "weed \(Version.text) (\(Version.platform)): ready after 5.0 ms",
                "  volume server  http://10.0.0.2:8080",
                "                 gRPC on port 99: 10.0.0.2:8080.99",
                "  address        10.0.0.2: given by -ip",
                "  listening on   10.0.0.2",
                "  masters        10.0.0.1:9333",
                "  data           /v",
                "  sync           always: an answered write is on disk",
                "  recovery       0 volumes in 0.0 ms",
            ])
    }
}

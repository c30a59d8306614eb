import ArgumentParser
import Logging
import Model
import Testing

@testable import weed

@Suite("Command line: weed server")
struct CommandLineServerTests {
    private func configuration(_ flags: String...) throws -> ServerConfiguration {
        let line = try CommandLineForm(["server"] + flags)
        let command = try Weed.parseAsRoot(line.arguments)
        return try ServerConfiguration(#require(command as? ServerCommand))
    }

    private func message(_ flags: String...) -> String {
        do {
            let line = try CommandLineForm(["server"] + flags)
            _ = try Weed.parseAsRoot(line.arguments)
            return "accepted"
        } catch let error as UsageError {
            return error.message
        } catch {
            return Weed.message(for: error)
        }
    }

    @Test("the defaults are those of the Go original, but durable")
    func defaults() throws {
        let server = try configuration("-dir=/data")
        #expect(server.volume.directories == [.init(path: "/data", maxVolumes: 8, diskType: "")])
        #expect(server.master.directory == "/data")
        #expect(server.master.ports == (9333, 19333))
        #expect(server.volume.ports == (8080, 18080, 0))
        #expect(server.master.volumeSizeLimit == 30720 << 20)
        #expect(server.volume.fileSizeLimit == 256 << 20)
        #expect(server.master.garbageThreshold == 0.3)
        #expect(server.master.defaultReplication == .single)
        #expect(server.volume.readMode == .proxy)
        #expect(server.volume.sync == .always)
        #expect(server.process.idleSeconds == 30)
        #expect(server.process.whiteList.isEmpty)
        #expect(!server.process.isInsecure)
        #expect(!server.volume.directoriesAreDefault)
        #expect(server.process.bind == server.process.address.host)
        #expect(server.process.threads == Checked.processors)
    }

    @Test("every flag arrives where it belongs")
    func flags() throws {
        let server = try configuration(
            "-dir=/a,/b", "-ip=10.1.2.3", "-ip.bind=0.0.0.0", "-master.port=1", "-master.dir=/m",
            "-master.volumeSizeLimitMB=64", "-master.defaultReplication=001",
            "-master.garbageThreshold=0.5", "-master.peers=none", "-volume.port=2",
            "-volume.port.public=3", "-volume.max=5,0", "-volume.publicUrl=example.org:80",
            "-volume.readMode=redirect", "-volume.fileSizeLimitMB=7", "-dataCenter=dc", "-rack=r",
            "-whiteList=10.0.0.0/8, ::1", "-idleTimeout=5", "-sync=interval:20", "-threads=3",
            "-disableHttp", "-insecure", "-volume.disk=ssd", "-volume.compactionMBps=10")
        #expect(
            server.volume.directories == [
                .init(path: "/a", maxVolumes: 5, diskType: "ssd"),
                .init(path: "/b", maxVolumes: 0, diskType: "ssd"),
            ])
        #expect(server.process.address == .init(host: "10.1.2.3", reason: "given by -ip"))
        #expect(server.process.bind == "0.0.0.0")
        #expect(server.master.directory == "/m")
        #expect(server.master.ports == (1, 10_001))
        #expect(server.volume.ports == (2, 10_002, 3))
        #expect(server.master.volumeSizeLimit == 64 << 20)
        #expect(server.master.defaultReplication.description == "001")
        #expect(server.master.garbageThreshold == 0.5)
        #expect(server.volume.publicURL == "example.org:80")
        #expect(server.volume.readMode == .redirect)
        #expect(server.volume.fileSizeLimit == 7 << 20)
        #expect((server.volume.dataCenter, server.volume.rack) == ("dc", "r"))
        #expect(server.process.whiteList == ["10.0.0.0/8", "::1"])
        #expect(server.process.idleSeconds == 5)
        #expect(server.volume.sync == .interval(milliseconds: 20))
        #expect(server.process.threads == 3)
        #expect(server.master.isHTTPDisabled)
        #expect(server.process.isInsecure)
        #expect(server.volume.compactionBytesPerSecond == 10 << 20)
    }

    @Test(
        "a bad value is answered with what would be a good one",
        arguments: [
            ("-master.port=70000", "-master.port=70000 is not a port, 0 to 65535"),
            ("-volume.port=-1", "-volume.port=-1 is not a port, 0 to 65535"),
            (
                "-volume.port=9333",
                "-master.port and -volume.port are the same: 9333"
            ),
            (
                "-volume.max=1,2",
                "-volume.max has 2 values for 1 directories: give one, or one each"
            ),
            ("-volume.max=x", "-volume.max: \"x\" is not a number of volumes, 0 or more"),
            ("-dir=a,a", "-dir names a directory twice: a,a"),
            ("-dir=,", "-dir names 0 directories; it takes 1 to 64"),
            (
                "-master.garbageThreshold=30",
                "-master.garbageThreshold=30.0 is not a share from 0 to 1"
            ),
            (
                "-master.defaultReplication=abc",
                "-master.defaultReplication: unexpected replication type: abc; it is xyz, as in 001"
            ),
            (
                "-master.peers=a:1,b:2",
                "-master.peers=a:1,b:2: this version runs a single master; say -master.peers=none"
            ),
            ("-threads=0", "-threads=0 is not from 1 to 256"),
            ("-ip=http://x", "-ip=http://x is no host name or address"),
            (
                "-sync=sometimes",
                "The value 'sometimes' is invalid for '-sync <sync>'. Please provide one of "
                    + "'always', 'interval:<ms>' or 'none'."
            ),
            ("-filer", "-filer is not taken: this server has no filer"),
        ])
    func badValues(flag: String, expected: String) {
        #expect(message("-ip=127.0.0.1", flag) == expected)
    }

    @Test("sync modes", arguments: ["always", "none", "interval:1", "interval:3600000"])
    func syncModes(text: String) {
        #expect(SyncChoice(argument: text)?.description == text)
    }

    @Test(
        "what is no sync mode",
        arguments: ["", "interval", "interval:", "interval:0", "interval:-5", "interval:9999999"])
    func noSyncModes(text: String) {
        #expect(SyncChoice(argument: text) == nil)
    }

    @Test("the address is never empty and says why it was chosen")
    func address() throws {
        let guessed = try AdvertisedAddress.choose(flag: nil)
        #expect(guessed.host.split(separator: ".").count == 4)
        #expect(guessed.reason.contains("-ip=<host>"))
    }

    @Test("the start is reported in full")
    func startReport() throws {
        let server = try configuration("-dir=/d", "-ip=10.0.0.9", "-sync=none", "-ip.bind=0.0.0.0")
        let report = StartReport(
            StartFacts(
                process: server.process, master: (server.master, .init(http: 9333, grpc: 19_333)),
                volume: (server.volume, .init(http: 8080, grpc: 18_080)), recoverySeconds: 0.0125,
                volumeCount: 1,
                recoveryLines: ["volume 3: 2 needles after the checkpoint"]),
            took: .milliseconds(1234))
        #expect(
            report.lines == [
                "weed \(Version.text) (\(Version.platform)): ready after 1.23 s",
                "  master         http://10.0.0.9:9333",
                "  volume server  http://10.0.0.9:8080",
                "  address        10.0.0.9: given by -ip",
                "  listening on   0.0.0.0",
                "  data           /d",
                "  sync           none: a power cut may take answered writes of the last half minute",
                "  recovery       1 volume in 12 ms",
                "                 volume 3: 2 needles after the checkpoint",
                "try it: curl -F file=@/etc/hostname http://10.0.0.9:9333/submit",
            ])
    }

    @Test("log lines stay lines")
    func logLines() {
        #expect(
            LineLogHandler.line(
                at: "12:00", .error, "two\nlines", ["volume": "7", "why": "disk full"])
                == "12:00 ERROR two\\nlines volume=7 why=\"disk full\"")
    }
}

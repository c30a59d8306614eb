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
        #expect(server.directories == [.init(path: "/data", maxVolumes: 8, diskType: "")])
        #expect(server.masterDirectory == "/data")
        #expect(server.masterPorts == (9333, 19333))
        #expect(server.volumePorts == (8080, 18080, 0))
        #expect(server.volumeSizeLimit == 30720 << 20)
        #expect(server.fileSizeLimit == 256 << 20)
        #expect(server.garbageThreshold == 0.3)
        #expect(server.defaultReplication == .single)
        #expect(server.readMode == .proxy)
        #expect(server.sync == .always)
        #expect(server.idleSeconds == 30)
        #expect(server.whiteList.isEmpty)
        #expect(!server.isInsecure)
        #expect(!server.directoriesAreDefault)
        #expect(server.bind == server.address.host)
        #expect(server.threads == ServerConfiguration.processors)
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
            server.directories == [
                .init(path: "/a", maxVolumes: 5, diskType: "ssd"),
                .init(path: "/b", maxVolumes: 0, diskType: "ssd"),
            ])
        #expect(server.address == .init(host: "10.1.2.3", reason: "given by -ip"))
        #expect(server.bind == "0.0.0.0")
        #expect(server.masterDirectory == "/m")
        #expect(server.masterPorts == (1, 10_001))
        #expect(server.volumePorts == (2, 10_002, 3))
        #expect(server.volumeSizeLimit == 64 << 20)
        #expect(server.defaultReplication.description == "001")
        #expect(server.garbageThreshold == 0.5)
        #expect(server.publicURL == "example.org:80")
        #expect(server.readMode == .redirect)
        #expect(server.fileSizeLimit == 7 << 20)
        #expect((server.dataCenter, server.rack) == ("dc", "r"))
        #expect(server.whiteList == ["10.0.0.0/8", "::1"])
        #expect(server.idleSeconds == 5)
        #expect(server.sync == .interval(milliseconds: 20))
        #expect(server.threads == 3)
        #expect(server.isHTTPDisabled)
        #expect(server.isInsecure)
        #expect(server.compactionBytesPerSecond == 10 << 20)
    }

    @Test(
        "a bad value is answered with what would be a good one",
        arguments: [
            ("-master.port=70000", "-master.port=70000 is not a port, 0 to 65535"),
            ("-volume.port=-1", "-volume.port=-1 is not a port, 0 to 65535"),
            (
                "-volume.port=9333",
                "two of -master.port, -volume.port and -volume.port.public are the same: "
                    + "[9333, 9333]"
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
            server,
            StartFacts(
                masterPort: 9333, volumePort: 8080, recoverySeconds: 0.0125, volumeCount: 1,
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

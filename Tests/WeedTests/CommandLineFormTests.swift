import Testing

@testable import weed

@Suite("Command line: the forms people type")
struct CommandLineFormTests {
    private func form(_ line: String) throws -> [String] {
        try CommandLineForm(line.split(separator: " ").map(String.init)).arguments
    }

    @Test(
        "one form is parsed",
        arguments: [
            ("server -master.port=1", "server -master.port=1"),
            ("server --master.port=1", "server -master.port=1"),
            ("server -master.port 1", "server -master.port 1"),
            ("server --master.port 1", "server -master.port 1"),
            ("server -disableHttp", "server -disableHttp=true"),
            ("server --disableHttp=false", "server -disableHttp=false"),
            ("server -v=2", "server -v 2"),
            ("-v=2 server -dir=a", "server -v 2 -dir=a"),
            ("-v 2 server -dir=a", "server -v 2 -dir=a"),
            ("benchmark -n=10 -c 4 -write=false", "benchmark -n 10 -c 4 -write=false"),
            ("index get -volumeId 3 -- -x", "index get -volumeId 3 -- -x"),
            ("compact -dir=a=b", "compact -dir=a=b"),
            ("volume --mserver=a:1,b:2 -insecure", "volume -mserver=a:1,b:2 -insecure=true"),
            ("master -disableHttp -port=1", "master -disableHttp=true -port=1"),
            ("upload -debug a b", "upload -debug=true a b"),
        ])
    func forms(given: String, parsed: String) throws {
        #expect(try form(given).joined(separator: " ") == parsed)
    }

    @Test("flags of the original without effect are left out and told")
    func ignoredFlags() throws {
        let line = try CommandLineForm([
            "server", "-master.telemetry=false", "-volume.index", "leveldb", "-master.resumeState",
            "-dir=x", "-filer=false",
        ])
        #expect(line.arguments == ["server", "-dir=x"])
        #expect(
            line.notes == [
                "-master.telemetry has no effect: nothing is ever sent anywhere",
                "-volume.index has no effect: the index is always on disk and small in memory",
                "-master.resumeState has no effect: the master always resumes",
            ])
    }

    @Test("flags of the original for what is not here are refused with the reason")
    func refusedFlags() {
        #expect(throws: UsageError.self) { try CommandLineForm(["server", "-filer"]) }
        #expect(throws: UsageError.self) { try CommandLineForm(["server", "-s3=true"]) }
    }

    @Test(
        "a wrong command gets a hint",
        arguments: [
            ("sever", "unknown command \"sever\"; did you mean \"server\"?"),
            ("benhcmark", "unknown command \"benhcmark\"; did you mean \"benchmark\"?"),
            ("filer", "unknown command \"filer\": there is no filer here"),
            (
                "frobnicate",
                "unknown command \"frobnicate\"; there are: server, master, volume, upload, download, "
                    + "delete, benchmark, compact, index, version, help"
            ),
        ])
    func unknownCommand(name: String, message: String) {
        let error = #expect(throws: UsageError.self) { try CommandLineForm([name]) }
        #expect(error?.message == message)
    }

    @Test(
        "a wrong flag gets a hint",
        arguments: [
            (
                ["server", "-port=1"],
                "unknown flag -port; did you mean -master.port or -volume.port?"
            ),
            (
                ["server", "-volume.prot=1"],
                "unknown flag -volume.prot; did you mean -volume.port?"
            ),
            (["server", "-synk=none"], "unknown flag -synk; did you mean -sync?"),
            (["index", "get", "-volumeID=3"], "unknown flag -volumeID; did you mean -volumeId?"),
            (["server", "-frobnicate"], "unknown flag -frobnicate"),
            (["volume", "-prot=1"], "unknown flag -prot; did you mean -port?"),
            (["master", "-dir=x"], "unknown flag -dir; did you mean -mdir?"),
            (["upload", "-maxMb=3"], "unknown flag -maxMb; did you mean -maxMB?"),
        ])
    func unknownFlag(arguments: [String], message: String) {
        #expect(KnownFlags.hint(arguments) == message)
    }

    @Test("nothing is said of flags that exist")
    func knownFlags() {
        #expect(KnownFlags.hint(["server", "-master.port=x", "-volume.index=memory"]) == nil)
        #expect(KnownFlags.hint(["index", "get", "-volumeId=x", "-collection=c"]) == nil)
    }

    @Test(
        "spelling distance",
        arguments: [
            ("port", "port", 0), ("port", "prot", 1), ("port", "ports", 1), ("port", "pot", 1),
            ("", "abc", 3), ("kitten", "sitting", 3),
        ])
    func distance(left: String, right: String, expected: Int) {
        #expect(Spelling.distance(left, right) == expected)
        #expect(Spelling.distance(right, left) == expected)
    }

    @Test(
        "exit codes",
        arguments: [
            (["version"], 0), (["help"], 0), (["help", "server"], 0), ([], 2), (["-h"], 2),
            (["server", "-h"], 2), (["sever"], 2), (["server", "-prot=1"], 2),
            (["server", "-master.port=x"], 2), (["index"], 2), (["compact"], 2),
            (["benchmark", "-n=0"], 2), (["upload"], 2), (["upload", "-dir=a", "b"], 2),
            (["download"], 2), (["delete", "-master=x", "3,01"], 2), (["volume", "-max=x"], 2),
            (["volume", "-master=a"], 2), (["master", "-port=x"], 2),
            (["master", "-peers=a:1"], 2),
        ] as [([String], CInt)])
    func exitCodes(arguments: [String], code: CInt) {
        #expect(Weed.run(arguments) == code)
    }
}

import Model
import NIOCore
import Platform
import Testing

@testable import Master

@Suite struct WhiteListTests {
    @Test(
        arguments: [
            (["127.0.0.1"], "127.0.0.1", true), (["127.0.0.1"], "127.0.0.2", false),
            (["10.0.0.0/8"], "10.255.1.2", true), (["10.0.0.0/8"], "11.0.0.1", false),
            (["10.1.2.128/25"], "10.1.2.200", true), (["10.1.2.128/25"], "10.1.2.127", false),
            (["0.0.0.0/0"], "8.8.8.8", true), (["0.0.0.0/0"], "::1", false),
            (["::1"], "::1", true), (["fe80::/10"], "fe80::1%eth0", true),
            (["2001:db8::/32"], "2001:db8:1::5", true), (["2001:db8::/32"], "2001:db9::1", false),
            (["192.168.1.7"], "::ffff:192.168.1.7", true), (["::ffff:1.2.3.4"], "1.2.3.4", true),
            ([], "1.2.3.4", true), (["10.0.0.1"], "", false), (["10.0.0.1"], "unknown", false),
        ] as [([String], String, Bool)])
    func admits(_ entries: [String], _ address: String, _ expected: Bool) {
        let list = WhiteList(entries)
        #expect(list.invalid.isEmpty)
        #expect(list.admits(address) == expected)
    }

    @Test(arguments: [
        "nonsense", "1.2.3", "1.2.3.4.5", "1.2.3.256", "1.2.3.4/33", "1.2.3.4/-1", "1.2.3.4/",
        "1.2.3.4/8/8", ":::", "1::2::3", "12345::", "::/129", "1:2:3:4:5:6:7:8:9", "1.2.3.+4",
    ])
    func refuses(_ entry: String) {
        let list = WhiteList([entry])
        #expect(list.invalid == [entry])
        #expect(!list.isEmpty)
        #expect(!list.admits("1.2.3.4"))
    }
}

@Suite struct FormTests {
    @Test(arguments: [
        ("multipart/form-data; boundary=abc", "abc"),
        ("multipart/form-data;boundary=\"a b\"; charset=x", "a b"),
        ("multipart/form-data; Boundary = abc ", "abc"), ("multipart/form-data", nil),
        ("multipart/form-data; boundary=", nil),
    ])
    func boundary(_ type: String, _ expected: String?) {
        #expect(MultipartForm.boundary(type) == expected)
    }

    private func fields(_ text: String) -> [String] {
        MultipartForm.fields(Array(text.utf8), boundary: "b").map { "\($0.name)=\($0.value)" }
    }

    @Test func fieldsWithoutFileNames() {
        let text =
            "preamble\r\n--b\r\nContent-Disposition: form-data; name=\"x\"\r\n\r\n1\r\n"
            + "--b\r\ncontent-disposition: form-data; name=y; filename=f\r\n\r\nfile\r\n"
            + "--b\r\nContent-Type: a/b\r\nContent-Disposition: form-data; name=z\r\n\r\n\r\n--b--"
        #expect(fields(text) == ["x=1", "z="])
        #expect(fields("").isEmpty)
        #expect(fields("--b").isEmpty)
        #expect(fields("--b\r\n\r\n--b--").isEmpty)
    }

    @Test func randomBytesNeverCrash() {
        var system = SystemRandomNumberGenerator()
        let seed = system.next()
        var random = SeededGenerator(seed: seed)
        let alphabet = Array("--b\r\n:;= \"name".utf8)
        for _ in 0..<5000 {
            let bytes = (0..<Int.random(in: 0...120, using: &random)).map { _ in
                alphabet[Int.random(in: 0..<alphabet.count, using: &random)]
            }
            #expect(MultipartForm.fields(bytes, boundary: "b").count < 60, "seed \(seed)")
        }
    }
}

@Suite struct RouteTests {
    @Test(
        arguments: [
            ("/dir/assign", .assign), ("/dir/lookup", .lookup), ("/", .page), ("/3,01", .file),
            ("/submit", .submit), ("/dir/assignx", .unknown), ("/dir/", .unknown), ("", .unknown),
            ("x", .unknown), ("//", .unclean), ("/a//b", .unclean), ("/Dir/assign", .unknown),
        ] as [(String, Route)])
    func route(_ path: String, _ expected: Route) {
        #expect(Route(Array(path.utf8).span) == expected)
    }

    @Test func digitsAreWrittenAsTheModelPrintsThem() {
        var system = SystemRandomNumberGenerator()
        for shift in 0..<64 {
            let fid = FileID(
                volume: system.next() >> UInt32(shift / 2), key: 1 << UInt64(shift),
                cookie: system.next())
            var buffer = ByteBuffer()
            buffer.write(fid)
            #expect(String(buffer: buffer) == fid.description)
            var number = ByteBuffer()
            number.write(decimal: .max >> UInt64(shift))
            #expect(String(buffer: number) == "\(UInt64.max >> UInt64(shift))")
        }
        var zero = ByteBuffer()
        zero.write(decimal: 0)
        #expect(String(buffer: zero) == "0")
    }

    @Test func volumeNumbersAreShownInRanges() {
        #expect(Topology.ranges([1, 2, 3, 4, 5, 7]) == " 1-5 7")
        #expect(Topology.ranges([]) == "")
        #expect(Topology.ranges([3]) == " 3")
        #expect(Topology.ranges([1, 2, 9, .max - 1, .max]) == " 1-2 9 4294967294-4294967295")
    }

    @Test func pagesAreEscaped() {
        #expect(StatusPage.escape(#"<a href="x">'&"#) == "&lt;a href=&#34;x&#34;&gt;&#39;&amp;")
    }
}

import Model
import Testing
import Wire

@Suite struct JSONWriterTests {
    private func json(pretty: Bool = false, _ body: (inout JSONWriter) -> Void) -> String {
        var writer = JSONWriter(pretty: pretty)
        body(&writer)
        return writer.text
    }

    @Test func keysKeepTheirOrder() {
        let text = json {
            $0.object {
                $0.field("b", 1)
                $0.field("a", "x")
                $0.field("c", true)
                $0.key("d")
                $0.null()
            }
        }
        #expect(text == #"{"b":1,"a":"x","c":true,"d":null}"#)
    }

    @Test func nesting() {
        let text = json {
            $0.array {
                $0.value(1)
                $0.object { _ in }
                $0.object { $0.array("l") { _ in } }
                $0.array {
                    $0.value("a")
                    $0.value("b")
                }
                $0.raw(Array(#"{"x":1}"#.utf8))
                $0.raw("2")
            }
        }
        #expect(text == #"[1,{},{"l":[]},["a","b"],{"x":1},2]"#)
    }

    @Test func prettyIsIndentedByTwo() {
        let text = json(pretty: true) {
            $0.object {
                $0.field("a", 1)
                $0.array("b") {
                    $0.value("x")
                    $0.object { _ in }
                }
                $0.object("c") { $0.field("d", false) }
            }
        }
        #expect(
            text == """
                {
                  "a": 1,
                  "b": [
                    "x",
                    {}
                  ],
                  "c": {
                    "d": false
                  }
                }
                """)
    }

    @Test(arguments: [
        ("plain é €", #""plain é €""#), ("<a&b>", #""\u003ca\u0026b\u003e""#),
        ("\"\\/", #""\"\\/""#), ("\n\r\t\u{8}\u{c}", #""\n\r\t\b\f""#),
        ("\u{0}\u{1f}", #""\u0000\u001f""#), ("\u{2028}\u{2029}â", #""\u2028\u2029â""#),
        ("", #""""#), ("👩‍👧", "\"👩‍👧\""),
    ])
    func escapes(_ text: String, _ expected: String) {
        #expect(json { $0.value(text) } == expected)
    }

    @Test func integersOfEverySize() {
        #expect(json { $0.value(0) } == "0")
        #expect(json { $0.value(Int64.min) } == "-9223372036854775808")
        #expect(json { $0.value(UInt64.max) } == "18446744073709551615")
        #expect(json { $0.value(Int8(-7)) } == "-7")
        #expect(
            json { $0.value(UInt128.max) } == "340282366920938463463374607431768211455")
        for shift in 0..<64 {
            let number: UInt64 = 1 << UInt64(shift)
            #expect(json { $0.value(number) } == "\(number)")
        }
    }

    @Test func numbersThatAreNone() {
        #expect(json { $0.value(Double.nan) } == "0")
        #expect(json { $0.value(Double.infinity) } == "0")
        #expect(json { $0.value(1.5) } == "1.5")
        #expect(json { $0.value(3.0) } == "3")
    }

    @Test func volumeAsTheStatusPagesShowIt() throws {
        let volume = VolumeInfo(
            id: 7, collection: "pics", replication: try ReplicaPlacement(parsing: "012"),
            ttl: TimeToLive(stored: 3, 1), size: 100, fileCount: 4, deleteCount: 1,
            deletedByteCount: 9, modifiedAtSecond: 1_400_000_000, compactRevision: 2,
            readOnlyReason: "full")
        #expect(
            json { $0.value(volume) }
                == #"{"Collection":"pics","DiskType":"","RemoteStorageName":"","#
                + #""ReplicaPlacement":{"node":2,"rack":1},"Ttl":{"Count":3,"Unit":1},"Size":100,"#
                + #""DeletedByteCount":9,"ModifiedAtSecond":1400000000,"Id":7,"DiskId":0,"#
                + #""CompactRevision":2,"FileCount":4,"DeleteCount":1,"Version":3,"ReadOnly":true,"#
                + #""ReadOnlyCanDelete":false,"ReadOnlyReason":"full"}"#)
    }
}

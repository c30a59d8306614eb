import Model
import Synchronization
import Testing
import Wire

@testable import Master

@Suite struct MasterHTTPTests {
    @Test func assignAndLookUp() async throws {
        try await withMaster { master in
            let server = FakeServer("127.0.0.1:8080", slots: ["": 20])
            _ = try await master.peer.report(server.report, from: server)
            let first = try await http(master.port, "GET", "/dir/assign")
            #expect(first.status == 200)
            #expect(first.headers["content-type"] == "application/json")
            #expect(first.headers["x-content-type-options"] == "nosniff")
            let shape = try Regex(
                #"^\{"fid":"[1-7],01[0-9a-f]{8}","url":"127.0.0.1:8080","#
                    + #""publicUrl":"127.0.0.1:8080","count":1\}$"#)
            #expect(first.body.contains(shape), "\(first.body)")
            let five = try await http(master.port, "POST", "/dir/assign?count=5&pretty=y")
            #expect(five.body.contains("\"count\": 5"), "\(five.body)")
            #expect(five.body.contains(",02"), "\(five.body)")
            let next = try await http(master.port, "OPTIONS", "/dir/assign")
            #expect(next.body.contains(",07"), "\(next.body)")

            let found = try await http(master.port, "GET", "/dir/lookup?volumeId=1")
            let locations =
                #""locations":[{"url":"127.0.0.1:8080","publicUrl":"127.0.0.1:8080","#
                + #""dataCenter":"DefaultDataCenter","grpcPort":18080}]}"#
            #expect(found.status == 200)
            #expect(found.body == #"{"volumeOrFileId":"1","volumeId":"1","# + locations)
            let fid = try await http(master.port, "GET", "/dir/lookup?volumeId=2&fileId=1,016370")
            #expect(fid.body == found.body)
        }
    }

    @Test func lookUpRefusals() async throws {
        try await withMaster { master in
            let server = FakeServer("127.0.0.1:8080")
            server.add(VolumeInfo(id: 4, collection: "pics"))
            _ = try await master.peer.report(server.report, from: server)
            let missing = try await http(master.port, "GET", "/dir/lookup?volumeId=9999")
            #expect(missing.status == 404)
            #expect(
                missing.body == #"{"volumeOrFileId":"9999","volumeId":"9999","#
                    + #""error":"volume id 9999 not found"}"#)
            let odd = try await http(master.port, "GET", "/dir/lookup?volumeId=abc")
            #expect(odd.status == 404)
            #expect(
                odd.body == #"{"volumeOrFileId":"abc","volumeId":"abc","#
                    + #""error":"unknown volume id abc"}"#)
            let none = try await http(master.port, "GET", "/dir/lookup")
            #expect(none.status == 404)
            #expect(none.body == #"{"error":"unknown volume id "}"#)
            let other = try await http(master.port, "GET", "/dir/lookup?volumeId=4&collection=x")
            #expect(other.status == 404)
            let right = try await http(
                master.port, "GET", "/dir/lookup?collection=pics&volumeId=4,0")
            #expect(right.status == 200)
            let several = try await http(master.port, "GET", "/vol/lookup?volumeId=9&volumeId=4")
            #expect(several.status == 200)
            #expect(
                several.body.hasPrefix(#"{"4":{"volumeOrFileId":"4","volumeId":"4","locations":["#))
            #expect(
                several.body.hasSuffix(
                    #""9":{"volumeOrFileId":"9","volumeId":"9","error":"volume id 9 not found"}}"#))
        }
    }

    @Test func assignRefusals() async throws {
        try await withMaster { master in
            func error(_ query: String) async throws -> (Int, String, String?) {
                let answer = try await http(master.port, "GET", "/dir/assign?" + query)
                return (answer.status, answer.body, answer.headers["retry-after"])
            }
            #expect(
                try await error("replication=abc")
                    == (406, #"{"error":"unexpected replication type: abc"}"#, nil))
            #expect(
                try await error("ttl=ab")
                    == (406, #"{"error":"strconv.Atoi: parsing \"ab\": invalid syntax"}"#, nil))
            #expect(try await error("ttl=5x").0 == 406)
            #expect(try await error("collection=a/b").0 == 406)
            #expect(try await error("preallocate=x").0 == 406)
            #expect(try await error("count=18446744073709551615").0 == 406)
            let full = try await error("collection=pics")
            #expect(full.0 == 406)
            #expect(full.1.contains("No writable volumes and no free volumes left for {"))
            #expect(full.1.contains("no volume server is connected"))
            let server = FakeServer("127.0.0.1:8080")
            _ = try await master.peer.report(server.report, from: server)
            let racks = try await error("replication=010")
            #expect(racks.0 == 503)
            #expect(racks.2 == "1")
            #expect(racks.1.contains("no writable volumes for {"))
            #expect(racks.1.contains(", volume growth in progress"))
            for count in ["0", "-1", "x", ""] {
                let answer = try await http(master.port, "GET", "/dir/assign?count=\(count)")
                #expect(answer.body.hasSuffix(#","count":1}"#), "\(answer.body)")
            }
        }
    }

    @Test func parametersComeFromBodiesToo() async throws {
        try await withMaster { master in
            let server = FakeServer("127.0.0.1:8080", slots: ["": 20])
            _ = try await master.peer.report(server.report, from: server)
            let form = try await http(
                master.port, "POST", "/dir/assign?count=2",
                headers: [("Content-Type", "application/x-www-form-urlencoded")],
                body: "count=3&collection=a%20b")
            #expect(form.body.hasSuffix(#","count":3}"#), "\(form.body)")
            let parts =
                "--xx\r\nContent-Disposition: form-data; name=\"count\"\r\n\r\n4\r\n"
                + "--xx\r\nContent-Disposition: form-data; name=\"collection\"\r\n\r\npics\r\n"
                + "--xx--\r\n"
            let multipart = try await http(
                master.port, "PUT", "/dir/assign",
                headers: [("Content-Type", "multipart/form-data; boundary=xx")], body: parts)
            #expect(multipart.body.hasSuffix(#","count":4}"#), "\(multipart.body)")
            let collections = Set(server.report.volumes.map(\.collection))
            #expect(collections == ["a b", "pics"])
        }
    }

    @Test func status() async throws {
        try await withMaster { master in
            let empty = try await http(master.port, "GET", "/dir/status")
            #expect(
                empty.body == #"{"Topology":{"Max":0,"Free":0,"DataCenters":null,"Layouts":null,"#
                    + #""layouts":null},"TopologyId":"\#(master.topologyID)","Version":"test"}"#)
            let server = FakeServer("127.0.0.1:8080")
            for id in [1, 2, 3, 5] as [VolumeID] { server.add(VolumeInfo(id: id)) }
            server.change(5) { $0.readOnlyReason = "why" }
            _ = try await master.peer.report(server.report, from: server)
            let layouts =
                #"[{"replication":"000","ttl":"","writables":[1,2,3],"collection":"","#
                + #""diskType":"hdd","unwritables":[{"id":5,"#
                + #""reason":"read-only on 127.0.0.1:8080: why"}]}]"#
            let status = try await http(master.port, "GET", "/dir/status")
            #expect(
                status.body == #"{"Topology":{"Max":8,"Free":4,"DataCenters":[{"Id":"#
                    + #""DefaultDataCenter","Racks":[{"Id":"DefaultRack","DataNodes":[{"Url":"#
                    + #""127.0.0.1:8080","PublicUrl":"127.0.0.1:8080","Volumes":4,"EcShards":0,"#
                    + #""Max":8,"VolumeIds":" 1-3 5"}]}]}],"Layouts":\#(layouts),"#
                    + #""layouts":\#(layouts)},"TopologyId":"\#(master.topologyID)","#
                    + #""Version":"test"}"#)
            let volumes = try await http(master.port, "GET", "/vol/status")
            #expect(
                volumes.body.hasPrefix(
                    #"{"Version":"test","Volumes":{"DataCenters":{"DefaultDataCenter":{"#
                        + #""DefaultRack":{"127.0.0.1:8080":[{"Collection":"","#))
            #expect(volumes.body.hasSuffix(#"]}}},"Free":4,"Max":8}}"#))
            await master.peer.disconnected(server.id)
            let gone = try await http(master.port, "GET", "/dir/status")
            #expect(gone.body.contains(#""Racks":[{"Id":"DefaultRack","DataNodes":null}]"#))
        }
    }

    @Test func growAndDelete() async throws {
        try await withMaster { master in
            let server = FakeServer("127.0.0.1:8080", slots: ["": 8])
            _ = try await master.peer.report(server.report, from: server)
            func grow(_ query: String) async throws -> (Int, String) {
                let answer = try await http(master.port, "GET", "/vol/grow?" + query)
                return (answer.status, answer.body)
            }
            #expect(try await grow("count=2&collection=pics") == (200, #"{"count":2}"#))
            #expect(try await grow("count=0") == (200, #"{"count":0}"#))
            #expect(
                try await grow("count=x") == (406, #"{"error":"can not parse parameter count x"}"#))
            #expect(
                try await grow("count=1000")
                    == (406, #"{"error":"only 6 volumes left, not enough for 1000"}"#))
            #expect(
                try await grow("count=1&replication=zz9")
                    == (406, #"{"error":"unexpected replication type: zz9"}"#))
            #expect(
                try await grow("count=1&replication=010")
                    == (
                        406,
                        #"{"error":"No matching data node found! \n"#
                            + #"DefaultDataCenter:Only has 1 racks, not enough for 2.\n"#
                            + #"127.0.0.1:8080 has room for 6"}"#
                    ))
            let info = try await http(master.port, "GET", "/collection/info?collection=pics")
            #expect(
                info.body == #"{"Collection":"pics","FileCount":0,"TotalSize":2097152,"#
                    + #""UsedSize":0,"Version":"test","VolumeCount":1}"#)
            let detail = try await http(
                master.port, "GET", "/collection/info?collection=pics&detail=true")
            #expect(
                detail.body == #"[{"Collection":"pics","FileCount":0,"TotalSize":2097152,"#
                    + #""UsedSize":0,"Version":"test"}]"#)
            #expect(try await http(master.port, "GET", "/collection/info").status == 400)

            func delete(_ query: String) async throws -> (Int, String) {
                let answer = try await http(master.port, "GET", "/col/delete" + query)
                return (answer.status, answer.body)
            }
            #expect(try await delete("") == (400, #"{"error":"collection is required"}"#))
            #expect(
                try await delete("?collection=") == (400, #"{"error":"collection is required"}"#))
            #expect(try await delete("?collection=pics") == (204, ""))
            #expect(server.report.volumes.isEmpty)
            #expect(
                try await delete("?collection=pics")
                    == (400, #"{"error":"collection pics does not exist"}"#))
        }
    }

    @Test func vacuumAnswersLikeStatus() async throws {
        try await withMaster { master in
            let server = FakeServer("127.0.0.1:8080")
            server.add(VolumeInfo(id: 1, size: 9000, fileCount: 3))
            server.state.withLock { $0.garbage = [1: 0.5] }
            _ = try await master.peer.report(server.report, from: server)
            let bad = try await http(master.port, "GET", "/vol/vacuum?garbageThreshold=abc")
            #expect(bad.status == 406)
            #expect(
                bad.body == #"{"error":"garbageThreshold abc is not a valid float number"}"#)
            _ = try await http(master.port, "GET", "/vol/vacuum?garbageThreshold=0.6")
            #expect(server.calls.isEmpty)
            let done = try await http(master.port, "GET", "/vol/vacuum?garbageThreshold=0.4")
            #expect(done.body.hasPrefix(#"{"Topology":{"#))
            #expect(server.calls == ["compact 1", "commit 1"])
        }
    }

    @Test func redirects() async throws {
        try await withMaster { master in
            let server = FakeServer("127.0.0.1:8080")
            server.add(VolumeInfo(id: 44))
            _ = try await master.peer.report(server.report, from: server)
            for path in ["/44,01637037d6", "/44,01637037d6.jpg?w=1&x=2", "/44", "/44%2C01"] {
                let answer = try await http(master.port, "GET", path)
                #expect(answer.status == 308)
                #expect(answer.headers["location"] == "http://127.0.0.1:8080" + path)
                #expect(answer.headers["content-type"] == "text/html; charset=utf-8")
            }
            let posted = try await http(master.port, "POST", "/44,01637037d6", body: "x")
            #expect(posted.status == 308)
            #expect(posted.body.isEmpty)
            let missing = try await http(master.port, "GET", "/99,01637037d6")
            #expect(missing.status == 404)
            #expect(
                missing.body == #"{"error":"volume id 99 not found: volume id 99 not found"}"#)
            let odd = try await http(master.port, "GET", "/nosuch")
            #expect(
                odd.body == #"{"error":"volume id nosuch not found: unknown volume id nosuch"}"#)
            let deep = try await http(master.port, "GET", "/44/01637037d6")
            #expect(deep.status == 404)
            #expect(deep.body == "404 page not found\n")
            let unclean = try await http(master.port, "GET", "//dir///assign?count=2")
            #expect(unclean.status == 301)
            #expect(unclean.headers["location"] == "/dir/assign?count=2")
        }
    }

    @Test func clusterAndHealth() async throws {
        try await withMaster { master in
            let port = master.port
            let status = try await http(port, "GET", "/cluster/status")
            let address = "127.0.0.1:\(port).\(port + 10_000)"
            #expect(status.body == #"{"IsLeader":true,"Leader":"\#(address)"}"#)
            let server = FakeServer("127.0.0.1:8080")
            server.add(VolumeInfo(id: 7))
            _ = try await master.peer.report(server.report, from: server)
            let later = try await http(port, "GET", "/cluster/status")
            #expect(later.body.hasSuffix(#","MaxVolumeId":7}"#))
            #expect(try await http(port, "POST", "/cluster/status").status == 405)
            for path in ["/cluster/healthz", "/readyz", "/healthz"] {
                let answer = try await http(port, "GET", path)
                #expect(answer.status == 200)
                #expect(answer.body.isEmpty)
                #expect(try await http(port, "HEAD", path).status == 200)
            }
            #expect(try await http(port, "PUT", "/readyz").status == 405)
            for path in ["/", "/ui/index.html"] {
                let page = try await http(port, "GET", path)
                #expect(page.status == 200)
                #expect(page.headers["content-type"] == "text/html; charset=utf-8")
                #expect(page.body.contains("127.0.0.1:8080"))
            }
            #expect(try await http(port, "GET", "/favicon.ico").status == 200)
            #expect(try await http(port, "GET", "/stats/counter").body.contains("Counters"))
            #expect(try await http(port, "GET", "/stats/memory").body.contains("Memory"))
            #expect(try await http(port, "GET", "/dir/nothing").status == 404)
            let head = try await http(port, "HEAD", "/dir/status")
            #expect(head.body.isEmpty)
            #expect((Int(head.headers["content-length"] ?? "") ?? 0) > 50)
        }
    }

    @Test func whiteListGuardsWhatItShould() async throws {
        try await withMaster(change: { $0.whiteList = ["10.0.0.0/8"] }) { master in
            for path in ["/dir/assign", "/dir/lookup", "/vol/grow", "/col/delete", "/submit"] {
                let answer = try await http(master.port, "POST", path)
                #expect(answer.status == 401)
                #expect(answer.body.isEmpty)
            }
            for path in ["/cluster/status", "/healthz", "/", "/cluster/healthz"] {
                #expect(try await http(master.port, "GET", path).status == 200)
            }
            #expect(try await http(master.port, "GET", "/3,01637037d6").status == 404)
        }
        try await withMaster(change: { $0.whiteList = ["127.0.0.1"] }) { master in
            let answer = try await http(master.port, "GET", "/dir/status")
            #expect(answer.status == 200)
        }
        await #expect(throws: MasterError.whiteList(["nonsense"])) {
            try await withMaster(change: { $0.whiteList = ["nonsense"] }) { _ in }
        }
    }

    @Test func disabledHTTPLeavesStatusPages() async throws {
        try await withMaster(change: { $0.disableHTTP = true }) { master in
            let answer = try await http(master.port, "GET", "/dir/assign")
            #expect(answer.status == 404)
            #expect(try await http(master.port, "GET", "/healthz").status == 200)
            #expect(try await http(master.port, "GET", "/cluster/status").status == 200)
        }
    }
}

@Suite struct MasterServiceTests {
    @Test func stateSurvivesARestart() async throws {
        try await withDirectory { directory in
            let server = FakeServer("127.0.0.1:8080", slots: ["": 20])
            var topology = ""
            var keys: [String] = []
            for life in 0..<3 {
                try await withMaster(in: directory) { master in
                    if life > 0 {
                        #expect(master.topologyID == topology)
                        #expect(master.startReport[0].hasPrefix("resuming cluster \(topology)"))
                        // The only server known is not back yet.
                        let early = try await http(master.port, "GET", "/dir/assign")
                        #expect(early.status == 503)
                        #expect(early.body.contains("master is warming up"))
                        #expect((Int(early.headers["retry-after"] ?? "") ?? 0) > 0)
                    } else {
                        #expect(master.startReport[0].hasPrefix("new cluster "))
                    }
                    topology = master.topologyID
                    _ = try await master.peer.report(server.report, from: server)
                    let answer = try await http(master.port, "GET", "/dir/assign")
                    let fid = answer.body.split(separator: "\"")[3]
                    keys.append(String(fid.split(separator: ",")[1].dropLast(8)))
                }
            }
            // A window of 10,000 keys for each life: 1, 0x2711, 0x4e21.
            #expect(keys == ["01", "2711", "4e21"])
            #expect(server.report.volumes.count == 7)
        }
    }

    @Test func aDirectoryInUseIsRefused() async throws {
        try await withDirectory { directory in
            try await withMaster(in: directory) { _ in
                do {
                    try await withMaster(in: directory) { _ in
                        Issue.record("two masters in one directory")
                    }
                } catch {
                    #expect("\(error)".hasPrefix("mdir \(directory) is in use by pid "))
                }
            }
        }
    }
}

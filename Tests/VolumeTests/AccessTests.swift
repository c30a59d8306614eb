import Crypto
import Needles
import Testing

@testable import Volume

@Suite struct AccessTests {
    private func rules(
        _ whiteList: [String], _ change: (inout VolumeConfiguration) -> Void = { _ in }
    ) throws -> AccessRules {
        var configuration = VolumeConfiguration(store: StoreConfiguration(directories: []))
        configuration.whiteList = whiteList
        change(&configuration)
        return try AccessRules(configuration)
    }

    @Test func whiteListOfAddressesAndNetworks() throws {
        let rules = try rules(["10.1.0.0/20", "192.168.7.9", "fd00::/8"])
        for address in ["10.1.15.255", "192.168.7.9", "fd12::1", "::ffff:10.1.0.1"] {
            #expect(rules.allows(address), "\(address)")
        }
        for address in ["10.1.16.0", "192.168.7.8", "127.0.0.1", "fe80::1", "", "nonsense"] {
            #expect(!rules.allows(address), "\(address)")
        }
        #expect(rules.refusal == nil)
    }

    @Test func withoutWhiteListThisMachineOnly() throws {
        let rules = try rules([]) { $0.ip = "192.168.1.5" }
        #expect(rules.allows("127.0.0.1"))
        #expect(rules.allows("::1"))
        #expect(rules.allows("192.168.1.5"))
        #expect(!rules.allows("192.168.1.6"))
        #expect(rules.refusal?.contains("-insecure") == true)
        #expect(try self.rules([]) { $0.isInsecure = true }.allows("192.168.1.6"))
        #expect(try self.rules([]) { $0.signingKey = [1] }.allows("192.168.1.6"))
    }

    @Test(arguments: ["10.0.0.0/33", "10.0.0", "example", "", "::1/129", "10.0.0.1/"])
    func badEntriesAreNamed(_ entry: String) {
        #expect(throws: VolumeServiceError.whiteList(entry)) { try rules([entry]) }
    }

    @Test func refusedClientsGetAnEmptyAnswer() async throws {
        try await ServiceFixture.run({ $0.whiteList = ["10.0.0.0/8"] }) { server async throws in
            for method in ["POST", "PUT", "DELETE"] {
                let answer = try await server.send(method, "/3,01637037d6", body: [])
                #expect(answer.status == 401)
                #expect(answer.body.isEmpty)
            }
            #expect(try await server.send("GET", "/3,01637037d6").status == 404)
            #expect(try await server.send("GET", "/status").status == 200)
        }
    }
}

@Suite struct TokenTests {
    private let key: [UInt8] = Array("secret".utf8)

    private func token(_ claims: String, key: [UInt8]? = nil, algorithm: String = "HS256") -> String
    {
        let signed = encode(#"{"alg":"\#(algorithm)","typ":"JWT"}"#) + "." + encode(claims)
        let symmetric = SymmetricKey(data: key ?? self.key)
        let bytes = Array(signed.utf8)
        let mac: [UInt8] =
            switch algorithm {
            case "HS512":
                Array(HMAC<SHA512>.authenticationCode(for: bytes, using: symmetric))
            default: Array(HMAC<SHA256>.authenticationCode(for: bytes, using: symmetric))
            }
        return signed + "." + encode(mac)
    }

    private func encode(_ text: String) -> String { encode(Array(text.utf8)) }

    private func encode(_ bytes: [UInt8]) -> String {
        String(
            Base64.encode(bytes).filter { $0 != "=" }.map {
                $0 == "+" ? "-" : $0 == "/" ? "_" : $0
            })
    }

    @Test func checksSignatureTimeAndFile() {
        let rules = TokenRules(key: key)
        let good = token(#"{"fid":"3,01637037d6","exp":1000}"#)
        #expect(rules.isValid(good, for: "3,01637037d6", now: 999))
        #expect(!rules.isValid(good, for: "3,01637037d6", now: 1000))
        #expect(!rules.isValid(good, for: "3,02637037d6", now: 999))
        #expect(!rules.isValid(good + "A", for: "3,01637037d6", now: 999))
        #expect(!rules.isValid("", for: "3,01637037d6", now: 999))
        let eternal = token(#"{"fid":"3,01637037d6"}"#, algorithm: "HS512")
        #expect(rules.isValid(eternal, for: "3,01637037d6"))
        let foreign = token(#"{"fid":"3,01637037d6"}"#, key: [1, 2, 3])
        #expect(!rules.isValid(foreign, for: "3,01637037d6"))
        let unsigned = token(#"{"fid":"3,01637037d6"}"#, algorithm: "none")
        #expect(!rules.isValid(unsigned, for: "3,01637037d6"))
        #expect(!rules.isValid(token("{}"), for: "3,01637037d6"))
    }

    @Test(arguments: [
        ("/3,01637037d6", "3,01637037d6"), ("/3,01637037d6_2.jpg", "3,01637037d6"),
        ("/3%2C01637037d6", "3,01637037d6"), ("/3/01637037d6_1/name.jpg", "3,01637037d6"),
        ("/", ""),
    ])
    func subjectOfPaths(_ path: String, _ subject: String) {
        #expect(TokenRules.subject(ofPath: path) == subject)
    }

    @Test func requestsNeedTheirToken() async throws {
        let key = self.key
        try await ServiceFixture.run({ $0.signingKey = key }) { server async throws in
            let refused = try await server.post("/3,01637037d6", [1])
            #expect(refused.status == 401)
            #expect(refused.text == #"{"error":"wrong jwt"}"#)
            let jwt = token(#"{"fid":"3,01637037d6"}"#)
            #expect(try await server.post("/3,01637037d6?jwt=\(jwt)", [1]).status == 201)
            let bearer = [("Authorization", "BEARER \(jwt)")]
            #expect(try await server.post("/3,01637037d6_1", [1], headers: bearer).status == 201)
            #expect(try await server.post("/3,02deadbeef", [1], headers: bearer).status == 401)
            let cookie = [("Cookie", "x=y; AT=\(jwt)")]
            #expect(try await server.send("DELETE", "/3/01637037d6", cookie).status == 202)
            // Reads have a key of their own.
            #expect(try await server.send("GET", "/3,02637037d6").status == 200)
            #expect(
                try await server.send("POST", "/delete?fid=3,02637037d6", body: []).status == 401)
        }
    }

    @Test func readsNeedTheirTokenToo() async throws {
        let key = self.key
        try await ServiceFixture.run({ $0.readSigningKey = key }) { server async throws in
            _ = try await server.post("/3,01637037d6", [65])
            #expect(try await server.send("GET", "/3,01637037d6").status == 401)
            let jwt = token(#"{"fid":"3,01637037d6"}"#)
            #expect(try await server.send("GET", "/3,01637037d6?jwt=\(jwt)").text == "A")
        }
    }
}

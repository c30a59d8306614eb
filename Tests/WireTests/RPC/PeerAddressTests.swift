import RPC
import Testing

@Suite struct PeerAddressTests {
    @Test(
        "Host and port, and the gRPC port when it is given",
        arguments: [
            ("127.0.0.1:9333", "127.0.0.1", 9333, 19333),
            ("10.0.0.1:9333.19334", "10.0.0.1", 9333, 19334),
            ("weed-0.weed.svc:8080", "weed-0.weed.svc", 8080, 18080),
            ("[fd00::1]:8080", "fd00::1", 8080, 18080),
            ("localhost:60000", "localhost", 60000, 70000),
        ])
    func parses(_ text: String, _ host: String, _ port: Int, _ grpcPort: Int) throws {
        let address = try #require(PeerAddress(text))
        #expect(address.host == host)
        #expect(address.port == port)
        #expect(address.grpcPort == grpcPort)
    }

    @Test(
        "Anything else is no address",
        arguments: [
            "", "host", ":9333", "host:", "host:0", "host:65536", "host:-1", "host:+1", "host:93x",
            "host:9333.", "host:9333.0", "host:9333.1.2", "host:9333.70000", "[]:1",
            "h:99999999999999999999",
        ])
    func refuses(_ text: String) { #expect(PeerAddress(text) == nil) }

    @Test("The gRPC port is no part of who a server is")
    func equality() throws {
        let short = try #require(PeerAddress("a:9333"))
        let long = try #require(PeerAddress("a:9333.5000"))
        #expect(short == long)
        #expect(Set([short, long]).count == 1)
        #expect(short != PeerAddress("b:9333"))
        #expect(long.http == "a:9333")
        #expect(long.grpc == "a:5000")
        #expect(long.long == "a:9333.5000")
        #expect(short.long == "a:9333.19333")
        #expect(short.description == "a:9333")
        #expect(long.description == "a:9333.5000")
        #expect(PeerAddress("[::1]:80")?.long == "[::1]:80.10080")
    }
}

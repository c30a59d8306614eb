import RPC
import TestSupport
import Testing

@testable import Volume

@Suite struct ClusterMemoryFileTests {
    @Test("What is remembered is read again; a file of nonsense is an empty memory")
    func remembers() throws {
        let directory = try TemporaryDirectory("memory")
        let file = ClusterMemoryFile(directory: directory.path)
        #expect(file.read() == ClusterMemory())
        let memory = ClusterMemory(
            masters: ["10.0.0.1:9333", "m2:9333.5000"], topologyID: "6f3c666f-1")
        try file.write(memory)
        #expect(file.read() == memory)
        try file.write(ClusterMemory(masters: ["a:1"]))
        #expect(file.read() == ClusterMemory(masters: ["a:1"]))
        let noise = Array("topology\nmaster x\n\u{0}\nmaster a:1 b\nfoo bar\nmaster ok:5".utf8)
        try Files.write(noise + [0xff, 0xfe], to: directory.file(ClusterMemoryFile.name))
        #expect(file.read().topologyID.isEmpty)
    }
}

import FoundationEssentials
import TestSupport
import Testing

extension BlackBox {
    /// The tools under `tools/`, with small loads; run by hand they do the same with large ones.
    @Suite struct Tools {
        @Test func realFilesComeBack() async throws {
            try await run("real-input", "--limit", "400", "--largest", "4000000")
        }

        @Test func killsLoseNothing() async throws {
            try await run("kill-loop", "--rounds", "3", "--threads", "4")
        }

        @Test func hostileClientsAreNotNoticed() async throws {
            try await run("hostile-clients", "--quick")
        }

        @Test func memoryStaysSmall() async throws {
            try await run(
                "memory-check", "--needles", "50000", "--large-gb", "0.2", "--read-mb", "4",
                "--reads", "4000", "--writes", "500")
        }

        /// Runs a tool against the binary under test; its output tells what it did.
        private func run(_ tool: String, _ arguments: String...) async throws {
            let (status, text) = try await onThread {
                let scratch = try TemporaryDirectory("tool")
                let environment = ProcessInfo.processInfo.environment.map { "\($0)=\($1)" }
                let child = try ChildProcess(
                    "/usr/bin/env",
                    [
                        "python3", Repository.root + "/tools/" + tool, "--weed", Repository.weed,
                        "--dir", scratch.path,
                    ] + arguments, environment: environment, output: scratch.file("output"))
                let status = child.waitForExit(seconds: 600)
                let output = Files.read(scratch.file("output")) ?? []
                return (status, String(decoding: output, as: UTF8.self))
            }
            print(text)
            #expect(status == .code(0), "\(tool) ended with \(status as Any)")
        }
    }
}

import TestSupport
import Testing

extension BlackBox {
    /// Proof that the golden comparison itself is right: the original must agree with its records.
    @Suite struct GoControl {
        /// Directories that make the original exit, or that its build cannot load.
        static let unusable: Set<String> = [
            "26-startup/b-unknown-version", "26-startup/c-other-offset-width",
            "23-four-byte-index/deletes-overwrites", "23-four-byte-index/zero-length",
        ]

        @Test func theOriginalAnswersAsItsManifestsSay() async throws {
            guard let weed = GoOriginal.path(neededFor: "golden control") else {
                try Test.cancel("the Go original is not installed")
            }
            let result = try await onThread { try Self.run(weed) }
            print("golden control: \(result.compared) answers compared")
            for fault in result.faults { Issue.record(Comment(rawValue: fault)) }
            #expect(result.compared > 2000)
        }

        static func run(_ weed: String) throws -> (compared: Int, faults: [String]) {
            var check = try GoldenCheck(withDifferences: false)
            for group in try GoldenGroup.all(excluding: unusable) {
                let directory = try TemporaryDirectory("golden-go")
                for setup in group.cases { try setup.install(in: directory.path) }
                var configuration = ServerProcess.Configuration(directory: directory.path)
                configuration.program = .goOriginal(weed)
                configuration.maxVolumes = 200
                let server = try ServerProcess(configuration)
                let client = HTTPClient(port: server.volumePort)
                for setup in group.cases {
                    try check.check(setup, client, "in the original")
                }
                server.kill()
            }
            return (check.compared, check.faults)
        }
    }
}

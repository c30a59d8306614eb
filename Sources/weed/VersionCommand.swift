import ArgumentParser

/// `weed version`.
struct VersionCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "version", abstract: "Print the version.")

    func run() {
        Terminal.out("version \(Version.text) \(Version.platform)")
    }
}

/// What this build is.
enum Version {
    /// The version of this program.
    static let text = "0.1.0"

    /// Operating system and processor.
    static var platform: String {
        #if arch(x86_64)
            "linux amd64"
        #elseif arch(arm64)
            "linux arm64"
        #else
            "linux"
        #endif
    }
}

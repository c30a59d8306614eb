import FoundationEssentials

/// The Go original, for round trips; installed by `tools/go-original` unless `GO_WEED` names one.
public enum GoOriginal {
    /// Its binary, or why there is none.
    public enum Availability: Sendable {
        /// The path of the binary.
        case installed(String)
        /// Why tests that need it are skipped.
        case missing(String)
    }

    /// Looked up once.
    public static let availability: Availability = {
        do {
            let scratch = try TemporaryDirectory("go-original")
            let output = scratch.file("output")
            let environment = ProcessInfo.processInfo.environment.map { "\($0)=\($1)" }
            let child = try ChildProcess(
                Repository.root + "/tools/go-original", [], environment: environment,
                output: output)
            let status = child.waitForExit(seconds: 400)
            let text = String(decoding: Files.read(output) ?? [], as: UTF8.self)
            let line = text.split(separator: "\n").last.map(String.init) ?? ""
            if status == .code(0), Files.exist(line) { return .installed(line) }
            return .missing("tools/go-original: \(line)")
        } catch {
            return .missing("tools/go-original: \(error)")
        }
    }()

    /// The binary; `nil`, after printing why, when the caller has to skip its test.
    public static func path(neededFor test: String) -> String? {
        switch availability {
        case .installed(let path): return path
        case .missing(let reason):
            print("SKIPPED \(test): \(reason)")
            return nil
        }
    }
}

import FoundationEssentials
import Glibc

/// Where things are while tests run.
public enum Repository {
    /// The top of the source tree.
    public static let root: String = {
        let parts = #filePath.split(separator: "/")
        return "/" + parts.dropLast(3).joined(separator: "/")
    }()

    /// Test data.
    public static let fixtures = root + "/Tests/Fixtures"

    /// The `weed` under test: `WEED_BINARY`, else the one built with these tests.
    public static let weed: String = {
        if let given = ProcessInfo.processInfo.environment["WEED_BINARY"] { return given }
        var buffer = [CChar](repeating: 0, count: Int(PATH_MAX))
        let count = unsafe readlink("/proc/self/exe", &buffer, buffer.count - 1)
        if count > 0 {
            let own = String(
                decoding: buffer[..<count].map { UInt8(bitPattern: $0) }, as: UTF8.self)
            let beside = own.split(separator: "/").dropLast().joined(separator: "/")
            let candidate = "/" + beside + "/weed"
            if Files.exist(candidate) { return candidate }
        }
        return root + "/.build/debug/weed"
    }()
}

import AsyncHTTPClient
import Glibc
import NIOCore
import NIOPosix

/// Why something that was asked of the cluster was not done.
enum ClientError: Error, Sendable, Equatable, CustomStringConvertible {
    /// No master of the list answered; one reason each.
    case noMaster([String])
    /// A server could not be reached, or went away before it had answered.
    case unreachable(what: String, address: String, why: String)
    /// A server answered and did not do it.
    case refused(what: String, address: String, status: Int, text: String)
    /// An answer that means nothing.
    case malformed(what: String, address: String, why: String)
    /// A file of this machine could not be read or written.
    case local(path: String, why: String)
    /// What was given is no file id.
    case badFileID(String)

    /// What, where, why, and what to do next.
    var description: String {
        switch self {
        case .noMaster(let reasons):
            "no master answers (\(reasons.joined(separator: "; "))): is one running there? "
                + "-master=<host:port> names another"
        case .unreachable(let what, let address, let why):
            "\(what): \(address) does not answer: \(why); try again when it runs"
        case .refused(let what, let address, let status, let text):
            "\(what): \(address) answers \(status)" + (text.isEmpty ? "" : ": \(text)")
        case .malformed(let what, let address, let why):
            "\(what): the answer of \(address) cannot be used: \(why); is it a server of this kind?"
        case .local(let path, let why): "\(path): \(why)"
        case .badFileID(let text):
            "\"\(text.prefix(64))\" is no file id; one looks like 3,01637037d6"
        }
    }

    /// Whether another server or a little later may do what this one did not.
    var isWorthAnotherTry: Bool {
        switch self {
        case .noMaster, .unreachable: true
        case .refused(_, _, let status, _): status >= 500 || status == 429
        case .malformed, .local, .badFileID: false
        }
    }

    /// A reason of the operating system.
    static func local(_ path: String, code: CInt) -> ClientError {
        .local(path: path, why: unsafe String(cString: strerror(code)))
    }

    /// What was wrong with a connection, without the layers it failed through.
    static func reason(_ error: any Error) -> String {
        if let error = error as? NIOConnectionError {
            if let code = (error.connectionErrors.first?.error as? IOError)?.errnoCode {
                return unsafe String(cString: strerror(code))
            }
            return error.connectionErrors.isEmpty ? "no such host" : "\(error)"
        }
        if let error = error as? IOError {
            return unsafe String(cString: strerror(error.errnoCode))
        }
        if let error = error as? HTTPClientError { return error.shortDescription }
        return "\(error)"
    }
}

import Glibc
import Master
import NIOCore
import Needles
import RPC
import Volume

/// Why a server did not start.
enum StartFailure {
    /// One line that says what to do about it.
    static func make(
        _ error: any Error, bind: String, port: Int, _ flag: String
    ) -> CommandFailure {
        switch error {
        case let error as CommandFailure: return error
        case let error as NeedleError: return CommandFailure(error)
        case let error as MasterError: return .state(error.description)
        case let error as RPCServerError: return .state(error.description)
        case let error as VolumeServiceError: return .state(error.description)
        case let error as IOError:
            let reason = unsafe String(cString: strerror(error.errnoCode))
            let hint =
                switch error.errnoCode {
                case EADDRINUSE: "stop what uses it, or choose another with -\(flag)"
                case EACCES: "ports below 1024 need root; choose another with -\(flag)"
                default: "-ip.bind must be an address of this machine"
                }
            return .state("cannot listen on \(bind):\(port): \(reason); \(hint)")
        default: return CommandFailure("\(error)")
        }
    }
}

public import GRPCCore
public import Wire

extension PeerError: RPCErrorConvertible {
    /// The status another server sees.
    ///
    /// Never `INTERNAL`: that costs a Go caller its connection.
    public var rpcErrorCode: RPCError.Code {
        switch kind {
        case .notFound: .notFound
        case .refused: .failedPrecondition
        case .failed: .unknown
        case .unreachable: .unavailable
        }
    }

    /// The text another server sees.
    public var rpcErrorMessage: String { description }

    /// What a failed call to `peer` means.
    public init(_ error: any Error, from peer: PeerAddress) {
        switch error {
        case let error as PeerError: self = error
        case let error as RPCError: self.init(error, from: peer)
        case is CancellationError: self.init(.unreachable, "\(peer): the call was given up")
        default: self.init(.unreachable, "\(peer): \(error)")
        }
    }

    private init(_ error: RPCError, from peer: PeerAddress) {
        let kind: Kind =
            switch error.code {
            case .notFound: .notFound
            case .unavailable, .deadlineExceeded, .cancelled: .unreachable
            case .failedPrecondition, .unimplemented, .invalidArgument, .alreadyExists,
                .permissionDenied, .unauthenticated, .outOfRange:
                .refused
            default: .failed
            }
        var text = error.message
        if text.isEmpty, let cause = error.cause { text = "\(cause)" }
        switch error.code {
        case .deadlineExceeded: text = "no answer in time"
        case .unavailable: text = "cannot be reached: " + text
        default: break
        }
        self.init(kind, "\(peer): \(text.isEmpty ? "\(error.code)" : text)")
    }
}

/// Gives every error a handler throws its text: of errors that are not statuses the other side
/// would hear only that something failed.
struct ErrorTexts: ServerInterceptor {
    func intercept<Input: Sendable, Output: Sendable>(
        request: StreamingServerRequest<Input>, context: ServerContext,
        next:
            @Sendable (StreamingServerRequest<Input>, ServerContext) async throws
            -> StreamingServerResponse<Output>
    ) async throws -> StreamingServerResponse<Output> {
        var response = try await ErrorTexts.named { try await next(request, context) }
        guard case .success(var contents) = response.accepted else { return response }
        let producer = contents.producer
        contents.producer = { writer in
            try await ErrorTexts.named { try await producer(writer) }
        }
        response.accepted = .success(contents)
        return response
    }

    private static func named<R>(_ body: () async throws -> R) async throws -> R {
        do {
            return try await body()
        } catch let error as RPCError {
            throw error
        } catch let error as any RPCErrorConvertible {
            throw RPCError(error)
        } catch is CancellationError {
            throw RPCError(code: .cancelled, message: "the call was given up")
        } catch {
            throw RPCError(code: .unknown, message: "\(error)")
        }
    }
}

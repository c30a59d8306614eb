import Logging
import NIOCore

extension ConnectionHandler {
    /// Parses a head and gives the request to the handler; false when there is no whole head yet.
    func takeHead() -> Bool {
        guard pending.readableBytes > 0 else {
            if inputClosed { closeAfterWrites() }
            return false
        }
        // A client that does not read its answers gets no more of them.
        guard isWritable else {
            if !awaitsWritability { stamp = shared.clock }
            awaitsWritability = true
            return false
        }
        awaitsWritability = false
        var current = parser ?? HTTPHeadParser(limit: shared.limits.headBytes)
        switch current.parse(pending) {
        case .incomplete:
            if inputClosed {
                closeAfterWrites()
                return false
            }
            if parser == nil { headStart = shared.clock }
            parser = current
            return false
        case .head(let request, let length):
            parser = nil
            pending.moveReaderIndex(forwardBy: length)
            begin(request)
            return true
        case .failure(let error):
            parser = nil
            refuse(error)
            return true
        }
    }

    private func begin(_ request: HTTPRequest) {
        startExchange()
        isHead = request.method == .head
        isHTTP10 = request.isHTTP10
        keepAlive = request.keepAlive
        if request.isChunked {
            framing = .chunked(ChunkedDecoder())
            awaitsContinue = request.expectsContinue
        } else if let length = request.contentLength, length > 0 {
            framing = .length(length)
            awaitsContinue = request.expectsContinue
        }
        shared.handler.handle(request, Exchange(connection: self, id: requestID))
    }

    private func startExchange() {
        requestID &+= 1
        phase = .serving
        isHead = false
        isHTTP10 = false
        keepAlive = false
        awaitsContinue = false
        hasResponded = false
        isWriting = false
        mustLinger = false
        pauses = 0
        reader = .waiting
        framing = .complete
    }

    /// Answers a head that is none, then closes: where the next request begins is unknown.
    func refuse(_ error: HeadError) {
        startExchange()
        mustLinger = true
        respond(requestID, error.status, .bytes(ByteBuffer(bytes: jsonError(error.description)))) {
            $0.addJSONType()
        }
    }

    /// Answers for a handler that let go of its exchange without an answer.
    func abandon(_ id: UInt64) {
        guard isCurrent(id), !hasResponded else { return }
        shared.logger.error("request not answered by its handler")
        respond(id, 500, .bytes(ByteBuffer(bytes: jsonError("request not answered")))) {
            $0.addJSONType()
        }
    }

    /// Closes the connection if it is between requests.
    func closeIfIdle() {
        if phase == .head, pending.readableBytes == 0, !hasUnsentBytes { close() }
        keepAlive = false
    }

    /// Looks at the time limits.
    func sweep() {
        let limits = shared.limits
        let now = shared.clock
        switch phase {
        case .head:
            if awaitsWritability {
                if now - stamp >= limits.stallTimeout { closeUnlessMoving() }
            } else if parser != nil {
                if now - headStart >= limits.headTimeout { timeOutHead() }
            } else if now - stamp >= limits.idleTimeout {
                closeUnlessMoving()
            } else if shared.isDraining {
                closeIfIdle()
            }
        case .serving:
            guard now - stamp >= limits.stallTimeout else { return }
            if isWriting {
                closeUnlessMoving()
            } else if !hasResponded, isReadingBody, pauses == 0 {
                failBody(.timedOut)
            }
        case .draining, .lingering:
            if now >= deadline { close() }
        case .closing:
            if now - stamp >= limits.stallTimeout { closeUnlessMoving() }
        case .closed:
            break
        }
    }

    private func timeOutHead() {
        parser = nil
        pending = ByteBuffer()
        refuse(.timedOut)
    }

    /// Closes, unless the channel has sent bytes since it was last looked at.
    private func closeUnlessMoving() {
        let buffered = bufferedBytes
        if buffered > 0, buffered != bufferedBefore {
            bufferedBefore = buffered
            stamp = shared.clock
        } else {
            close()
        }
    }
}

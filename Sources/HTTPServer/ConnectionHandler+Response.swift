import Logging
import NIOCore

extension ConnectionHandler {
    /// Writes an answer, or gives its body back when there is nobody to answer.
    func respond(
        _ id: UInt64, _ status: HTTPStatus, _ body: ResponseBody,
        _ headers: (inout HeaderWriter) -> Void
    ) {
        guard isCurrent(id), !hasResponded else { return body.discard() }
        hasResponded = true
        stamp = shared.clock
        settleBody()
        if shared.isDraining || inputClosed && pending.readableBytes == 0 { keepAlive = false }
        if isHead || status.isBodyless {
            respondWithoutBody(status, body, headers)
        } else {
            switch body {
            case .empty, .omitted, .none:
                send(head(status, .length(0), 0, headers))
            case .bytes(let bytes):
                respond(status, bytes, headers)
            case .file(let descriptor, let offset, let length):
                guard
                    let file = FilePart(descriptor: descriptor, offset: offset, length: length)
                else {
                    shared.logger.error("file shorter than the part of it to be sent")
                    let error = jsonError("file shorter than the part of it to be sent")
                    respond(500, ByteBuffer(bytes: error)) { $0.addJSONType() }
                    break
                }
                start(.file(file), head(status, .length(length), 0, headers))
            case .stream(let length, let source):
                let framing: ResponseFraming =
                    length.map { .length($0) } ?? (isHTTP10 ? .untilClose : .chunked)
                if length == nil, isHTTP10 { keepAlive = false }
                let content = PumpContent.stream(
                    source, remaining: length, isChunked: framing == .chunked)
                start(content, head(status, framing, 0, headers))
            }
        }
        process()
    }

    private func respondWithoutBody(
        _ status: HTTPStatus, _ body: ResponseBody, _ headers: (inout HeaderWriter) -> Void
    ) {
        let framing: ResponseFraming =
            if status.isBodyless {
                .none
            } else {
                switch body {
                case .none: .none
                case .empty: .length(0)
                case .bytes(let bytes): .length(UInt64(bytes.readableBytes))
                case .omitted(let length), .file(_, _, let length): .length(length)
                case .stream(let length, _): length.map { .length($0) } ?? .none
                }
            }
        body.discard()
        send(head(status, framing, 0, headers))
    }

    private func respond(
        _ status: HTTPStatus, _ bytes: ByteBuffer, _ headers: (inout HeaderWriter) -> Void
    ) {
        let count = bytes.readableBytes
        guard count > Limits.joinedBytes else {
            var buffer = head(status, .length(UInt64(count)), count, headers)
            buffer.writeImmutableBuffer(bytes)
            return send(buffer)
        }
        let head = head(status, .length(UInt64(count)), 0, headers)
        guard count > Limits.segmentBytes else {
            shared.keepScratch(head)
            context?.write(wrapOutboundOut(.byteBuffer(head)), promise: nil)
            return write(bytes)
        }
        start(.bytes(bytes), head)
    }

    /// Writes a whole answer that lies in one scratch buffer.
    private func send(_ buffer: ByteBuffer) {
        shared.keepScratch(buffer)
        write(buffer)
    }

    /// Writes the last part of an answer.
    private func write(_ buffer: ByteBuffer) {
        guard let context else { return }
        needsFlush = true
        if keepAlive {
            context.write(wrapOutboundOut(.byteBuffer(buffer)), promise: nil)
            return responseWritten()
        }
        isWriting = true
        let promise = loop.makePromise(of: Void.self)
        promise.futureResult.assumeIsolated().whenComplete { result in
            if case .success = result { self.responseWritten() } else { self.close() }
        }
        context.write(wrapOutboundOut(.byteBuffer(buffer)), promise: promise)
    }

    private func start(_ content: PumpContent, _ head: ByteBuffer) {
        guard let context else { return content.release() }
        shared.keepScratch(head)
        context.write(wrapOutboundOut(.byteBuffer(head)), promise: nil)
        needsFlush = true
        let pump = ResponsePump(connection: self, content: content)
        self.pump = pump
        pump.run()
    }

    /// The answer has left, or will without our doing.
    func responseWritten() {
        guard phase == .serving else { return }
        pump = nil
        isWriting = false
        stamp = shared.clock
        guard keepAlive else {
            if !framing.isComplete {
                lingerOrClose(for: shared.limits.stallTimeout)
            } else if mustLinger {
                lingerOrClose(for: Limits.lingerTimeout)
            } else {
                closeAfterWrites()
            }
            return process()
        }
        if framing.isComplete {
            nextRequest()
        } else {
            phase = .draining
            deadline = shared.clock + shared.limits.stallTimeout
        }
        process()
    }

    func nextRequest() {
        guard keepAlive else { return closeAfterWrites() }
        phase = .head
        stamp = shared.clock
    }

    /// Closes our side and waits for the client to close its own: closing at once with bytes unread
    /// would reset the connection and could take the answer away from the client.
    func lingerOrClose(for time: TimeAmount) {
        guard !inputClosed, let context else { return closeAfterWrites() }
        phase = .lingering
        discardLeft = shared.limits.drainBytes
        deadline = shared.clock + time
        context.close(mode: .output, promise: nil)
    }

    /// Status line and headers in a scratch buffer with room for `extra` bytes more.
    private func head(
        _ status: HTTPStatus, _ framing: ResponseFraming, _ extra: Int,
        _ headers: (inout HeaderWriter) -> Void
    ) -> ByteBuffer {
        var writer = HeaderWriter(buffer: shared.takeScratch(capacity: 512 + extra))
        if status.code == 200, !isHTTP10 {
            writer.buffer.writeBytes(shared.okLines)
        } else {
            writer.buffer.writeStaticString(isHTTP10 ? "HTTP/1.0 " : "HTTP/1.1 ")
            writer.buffer.writeDecimal(UInt64(min(max(status.code, 100), 999)))
            writer.buffer.writeStaticString(" ")
            writer.buffer.writeStaticString(status.reasonPhrase)
            writer.buffer.writeStaticString("\r\n")
            writer.buffer.writeBytes(shared.dateLine)
        }
        headers(&writer)
        if !keepAlive {
            writer.buffer.writeStaticString("Connection: close\r\n")
        } else if isHTTP10 {
            writer.buffer.writeStaticString("Connection: keep-alive\r\n")
        }
        switch framing {
        case .length(let length):
            writer.buffer.writeStaticString("Content-Length: ")
            writer.buffer.writeDecimal(length)
            writer.buffer.writeStaticString("\r\n\r\n")
        case .chunked:
            writer.buffer.writeStaticString("Transfer-Encoding: chunked\r\n\r\n")
        case .none, .untilClose:
            writer.buffer.writeStaticString("\r\n")
        }
        return writer.buffer
    }
}

/// How the client knows where an answer ends.
enum ResponseFraming: Equatable {
    case length(UInt64), chunked, untilClose, none
}

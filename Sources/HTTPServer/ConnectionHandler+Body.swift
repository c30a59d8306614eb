import NIOCore

extension ConnectionHandler {
    /// Whether the handler waits for bytes of the body.
    var isReadingBody: Bool {
        guard !framing.isComplete else { return false }
        switch reader {
        case .collect, .stream: return true
        case .waiting, .discard, .failed: return false
        }
    }

    func readBody(_ id: UInt64, limit: UInt64, _ wanted: BodyReader) {
        guard isCurrent(id), !hasResponded else { return wanted.fail(.disconnected) }
        guard case .waiting = reader else {
            return wanted.fail(.malformed("asked for twice"))
        }
        bodyLimit = limit
        bodyReceived = 0
        collected = nil
        stamp = shared.clock
        switch framing {
        case .complete:
            reader = .discard
            wanted.finish(ByteBuffer())
        case .length(let length) where length > limit:
            reader = .failed
            wanted.fail(.tooLarge(limit: limit))
        case .length, .chunked:
            reader = wanted
            if awaitsContinue, pending.readableBytes == 0, let context {
                let line = ByteBuffer(staticString: "HTTP/1.1 100 Continue\r\n\r\n")
                context.writeAndFlush(wrapOutboundOut(.byteBuffer(line)), promise: nil)
            }
            awaitsContinue = false
            process()
        }
    }

    func pauseReading(_ id: UInt64) {
        if isCurrent(id) { pauses += 1 }
    }

    func resumeReading(_ id: UInt64) {
        guard isCurrent(id), pauses > 0 else { return }
        pauses -= 1
        guard pauses == 0 else { return }
        stamp = shared.clock
        process()
    }

    /// Moves body bytes from `pending` to their reader; false when there is nothing to move.
    func feedBody() -> Bool {
        switch reader {
        case .waiting, .failed: return false
        case .collect, .stream:
            guard pauses == 0 else { return false }
        case .discard: break
        }
        switch framing {
        case .complete:
            return false
        case .length(let remaining):
            let count = Int(min(remaining, UInt64(pending.readableBytes)))
            guard count > 0, let piece = pending.readSlice(length: count) else {
                return bodyRunsDry()
            }
            let isLast = UInt64(count) == remaining
            framing = isLast ? .complete : .length(remaining - UInt64(count))
            deliver(piece, isLast: isLast)
        case .chunked(var decoder):
            let step = decoder.next(&pending)
            framing = .chunked(decoder)
            switch step {
            case .incomplete:
                return bodyRunsDry()
            case .piece(let piece):
                deliver(piece, isLast: false)
            case .end:
                framing = .complete
                finishBody()
            case .failure(let reason):
                failBody(.malformed(reason))
            }
        }
        return true
    }

    private func bodyRunsDry() -> Bool {
        guard inputClosed else { return false }
        if case .discard = reader {
            // The answer is under way; there is only nothing after it.
            keepAlive = false
            reader = .failed
        } else {
            close()
        }
        return false
    }

    private func deliver(_ piece: ByteBuffer, isLast: Bool) {
        bodyReceived += UInt64(piece.readableBytes)
        switch reader {
        case .waiting, .failed:
            break
        case .discard:
            discardLeft -= piece.readableBytes
            if discardLeft < 0, !isLast {
                keepAlive = false
                reader = .failed
            }
        case .stream(let sink):
            guard bodyReceived <= bodyLimit else { return failBody(.tooLarge(limit: bodyLimit)) }
            sink.receive(piece)
            if isLast { finishBody() }
        case .collect:
            guard bodyReceived <= bodyLimit else { return failBody(.tooLarge(limit: bodyLimit)) }
            collect(piece)
            if isLast { finishBody() }
        }
    }

    private func collect(_ piece: ByteBuffer) {
        guard var body = collected else {
            guard case .length(let remaining) = framing else {
                // The whole body, or a chunk that may be all of it: no copy.
                collected = piece
                return
            }
            // What the client announces is believed only in part.
            let expected = Int(min(bodyReceived + remaining, 1 << 20))
            var body = allocator.buffer(capacity: max(expected, piece.readableBytes))
            body.writeImmutableBuffer(piece)
            collected = body
            return
        }
        collected = nil
        body.writeImmutableBuffer(piece)
        collected = body
    }

    private func finishBody() {
        let finished = reader
        let body = collected ?? ByteBuffer()
        collected = nil
        switch finished {
        case .collect, .stream: reader = .discard
        case .waiting, .discard, .failed: return
        }
        finished.finish(body)
    }

    /// Tells whoever reads the body that there will be no more of it.
    func failBody(_ error: BodyError) {
        let failed = reader
        collected = nil
        switch failed {
        case .collect, .stream: break
        case .discard where !framing.isComplete:
            keepAlive = false
            reader = .failed
            return
        case .waiting, .discard, .failed: return
        }
        reader = .failed
        failed.fail(error)
    }

    /// Decides when answering what becomes of a body that has not been read to its end.
    func settleBody() {
        guard !framing.isComplete else { return }
        let budget = shared.limits.drainBytes
        discardLeft = budget
        collected = nil
        pauses = 0
        if case .failed = reader {
            keepAlive = false
            return
        }
        reader = .discard
        if awaitsContinue {
            // The client may now send the body or not: only closing is clear to both sides.
            keepAlive = false
        } else if case .length(let remaining) = framing, remaining > UInt64(max(0, budget)) {
            keepAlive = false
        }
    }

    /// Discards the rest of a body after the answer; false when more bytes are needed.
    func drainBody() -> Bool {
        if framing.isComplete {
            nextRequest()
            return true
        }
        if case .failed = reader {
            lingerOrClose(for: Limits.lingerTimeout)
            return true
        }
        if feedBody() { return true }
        if inputClosed { closeAfterWrites() }
        return false
    }
}

extension BodyReader {
    func finish(_ body: ByteBuffer) {
        switch self {
        case .collect(let completion): completion(.success(body))
        case .stream(let sink): sink.end()
        case .waiting, .discard, .failed: break
        }
    }

    func fail(_ error: BodyError) {
        switch self {
        case .collect(let completion): completion(.failure(error))
        case .stream(let sink): sink.failed(error)
        case .waiting, .discard, .failed: break
        }
    }
}

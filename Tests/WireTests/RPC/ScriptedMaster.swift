import GRPCCore
import RPC
import Synchronization
import SwiftProtobuf
import Wire
import WireMessages

/// A master whose answers a test gives one by one, and which tells what it heard.
final class ScriptedMaster: MasterPb_Seaweed.SimpleServiceProtocol {
    /// What a stream of reports is answered with.
    enum Reaction: Sendable {
        /// Takes the reports.
        case member(MasterPb_HeartbeatResponse)
        /// Answers once and goes on reading.
        case answer(MasterPb_HeartbeatResponse)
        /// Answers and ends the stream with an error.
        case refuse(MasterPb_HeartbeatResponse?, String)
        /// Never answers.
        case silent
    }

    /// What was heard, in order.
    enum Event: Sendable {
        case opened
        case beat(MasterPb_Heartbeat)
        case closed
    }

    private struct State {
        var leader = ""
        var topologyID = ""
        var reactions: [Reaction] = []
        var last = Reaction.member(.init())
    }

    private let state = Mutex(State())
    private let heard: AsyncStream<Event>.Continuation
    /// What was heard; one reader.
    let events: AsyncStream<Event>
    let streams = Count()

    init() { (events, heard) = AsyncStream.makeStream() }

    /// Who it says leads, and of which cluster.
    func lead(_ leader: String, topologyID: String = "") {
        state.withLock {
            $0.leader = leader
            $0.topologyID = topologyID
        }
    }

    /// What the next streams are answered with; the last one goes for all later ones.
    func react(_ reactions: Reaction...) { state.withLock { $0.reactions = reactions } }

    private func nextReaction() -> Reaction {
        state.withLock { state in
            if !state.reactions.isEmpty { state.last = state.reactions.removeFirst() }
            return state.last
        }
    }

    func getMasterConfiguration(
        request: MasterPb_GetMasterConfigurationRequest, context: ServerContext
    ) async throws -> MasterPb_GetMasterConfigurationResponse {
        let (leader, topologyID) = state.withLock { ($0.leader, $0.topologyID) }
        return .with {
            $0.leader = leader
            $0.topologyID = topologyID
        }
    }

    func lookupVolume(
        request: MasterPb_LookupVolumeRequest, context: ServerContext
    ) async throws -> MasterPb_LookupVolumeResponse {
        .with {
            $0.volumeIDLocations = request.volumeOrFileIds.map { id in
                .with {
                    $0.volumeOrFileID = id
                    if id == "7" {
                        $0.locations = [.with { $0.url = "10.0.0.9:8080" }]
                    } else {
                        $0.error = "volume id \(id) not found"
                    }
                }
            }
        }
    }

    func sendHeartbeat(
        request: RPCAsyncSequence<MasterPb_Heartbeat, any Swift.Error>,
        response: RPCWriter<MasterPb_HeartbeatResponse>, context: ServerContext
    ) async throws {
        streams.add()
        heard.yield(.opened)
        defer { heard.yield(.closed) }
        let reaction = nextReaction()
        var isFirst = true
        for try await beat in request {
            heard.yield(.beat(beat))
            guard isFirst else { continue }
            isFirst = false
            switch reaction {
            case .member(let answer), .answer(let answer): try await response.write(answer)
            case .refuse(let answer, let text):
                if let answer { try await response.write(answer) }
                throw RPCError(code: .unknown, message: text)
            case .silent: break
            }
        }
    }
}

/// Reads what a scripted master heard.
struct Hearing {
    private var iterator: AsyncStream<ScriptedMaster.Event>.Iterator

    init(_ master: ScriptedMaster) { iterator = master.events.makeAsyncIterator() }

    /// The next report that satisfies the condition.
    mutating func beat(
        where condition: (MasterPb_Heartbeat) -> Bool = { _ in true }
    ) async -> MasterPb_Heartbeat {
        while let event = await iterator.next() {
            if case .beat(let beat) = event, condition(beat) { return beat }
        }
        return .init()
    }

    /// Waits until a stream ended.
    mutating func closed() async {
        while let event = await iterator.next() { if case .closed = event { return } }
    }
}

import HTTPClient
import HTTPServer
import Model
import NIOCore
import Needles

/// One change carried out here and on the other holders at the same time.
///
/// Confined to the event loop of the request.
final class Distribution<Local: Sendable> {
    /// What came of it.
    struct Outcome {
        var local: Result<Local, NeedleError>
        /// What the holders that did it answered.
        var answers: [ClientAnswer] = []
        /// Who did not do it, and why.
        var failures: [(address: String, reason: String)] = []
        /// A holder may have done it although it did not say so, or did it alone.
        var isUncertain = false

        /// Whether copies may differ now.
        var leavesDebt: Bool {
            switch local {
            case .success: !failures.isEmpty
            case .failure: isUncertain || !answers.isEmpty
            }
        }

        /// The failures in one line.
        var text: String {
            failures.map { "\($0.address): \($0.reason)" }.joined(separator: "; ")
        }
    }

    private var remaining: Int
    private var local: Result<Local, NeedleError>?
    private var answers: [ClientAnswer] = []
    private var failures: [(address: String, reason: String)] = []
    private var isUncertain = false
    private let completion: (Outcome) -> Void

    /// A change on `holders` others; `completion` is called on the loop.
    init(holders: Int, completion: @escaping (Outcome) -> Void) {
        remaining = holders + 1
        self.completion = completion
    }

    /// Sends one holder its request.
    ///
    /// `problem` tells from an answer why the holder did not do it.
    func send(
        _ request: ClientRequest, _ client: HTTPClient, on loop: any EventLoop,
        problem: @escaping (ClientAnswer) -> String?
    ) {
        client.send(request, on: loop) { [self] result in
            switch result {
            case .success(let answer):
                if let problem = problem(answer) {
                    failures.append((request.address, problem))
                    if !Self.isRefusal(answer.status, problem) { isUncertain = true }
                } else {
                    answers.append(answer)
                }
            case .failure(let error):
                failures.append((request.address, error.description))
                if !error.isBeforeSending { isUncertain = true }
            }
            finishOne()
        }
    }

    /// This server has done its part.
    ///
    /// Called on the loop.
    func finishLocal(_ result: Result<Local, NeedleError>) {
        local = result
        finishOne()
    }

    /// Whether an answer says that nothing was changed, not that something failed half-way.
    private static func isRefusal(_ status: Int, _ reason: String) -> Bool {
        (400..<500).contains(status) || status == 503 || reason.contains("mismatching cookie")
            || reason.contains("read only") || reason.contains("not found")
    }

    private func finishOne() {
        remaining -= 1
        guard remaining == 0, let local else { return }
        completion(
            Outcome(
                local: local, answers: answers, failures: failures, isUncertain: isUncertain))
    }
}

import FoundationEssentials
import HTTPClient
import HTTPServer
import Model
import NIOCore
import Needles

/// Why a file was not deleted everywhere.
enum ChangeError: Error, Sendable, CustomStringConvertible {
    /// This server could not.
    case local(NeedleError)
    /// Other holders are not known, or could not.
    case holders(String)
    /// It has to be tried again.
    case busy(String)

    var description: String {
        switch self {
        case .local(let error): error.description
        case .holders(let text), .busy(let text): text
        }
    }
}

extension VolumeService {
    /// Deletes a needle here and, unless another server leads, on the other holders at the same
    /// time.
    ///
    /// Called on `loop`, on which `completion` is called with the size deleted. A needle that is
    /// nowhere is ``Needles/NeedleError/notFound(_:_:)``.
    func deleteEverywhere(
        _ id: FileID, _ volume: Volume, isReplicate: Bool, on loop: any EventLoop,
        _ completion: @escaping @Sendable (Result<UInt64, ChangeError>) -> Void
    ) {
        let count = VolumeService.copies(volume, isReplicate: isReplicate)
        guard count > 1 else {
            if isReplicate, !copies.ledger.follow(id) {
                return completion(.failure(.busy(VolumeService.isBusy)))
            }
            return volume.delete(id.key, cookie: id.cookie) { result in
                if isReplicate { self.copies.ledger.unfollow(id) }
                loop.execute { completion(result.map(UInt64.init).mapError(ChangeError.local)) }
            }
        }
        copies.holders.find(volume.id, copies: count, on: loop) { result in
            let holders: [String]
            switch result {
            case .success(let found): holders = found
            case .failure(let error):
                let text = error.message(for: volume.id, copies: count)
                return completion(.failure(.holders(text)))
            }
            let begin = self.copies.ledger.begin(id) { slot in
                loop.execute {
                    self.distributeDelete(id, volume, holders, slot, on: loop, completion)
                }
            }
            switch begin {
            case .started(let slot):
                self.distributeDelete(id, volume, holders, slot, on: loop, completion)
            case .waiting: break
            case .refused(let reason): completion(.failure(.busy(reason)))
            }
        }
    }

    private func distributeDelete(
        _ id: FileID, _ volume: Volume, _ holders: [String], _ slot: Int, on loop: any EventLoop,
        _ completion: @escaping @Sendable (Result<UInt64, ChangeError>) -> Void
    ) {
        let distribution = Distribution<UInt64?>(holders: holders.count) { outcome in
            let result = VolumeService.result(of: outcome, id)
            let ledger = self.copies.ledger
            if !outcome.failures.isEmpty { self.copies.holders.doubt(id.volume) }
            guard outcome.leavesDebt else {
                ledger.end(id, slot)
                return completion(result)
            }
            ledger.owe(id) {
                ledger.end(id, slot)
                loop.execute { completion(result) }
            }
        }
        let bound = NIOLoopBound(distribution, eventLoop: loop)
        volume.delete(id.key, cookie: id.cookie) { result in
            let outcome: Result<UInt64?, NeedleError>
            switch result {
            case .success(let size): outcome = .success(UInt64(size))
            case .failure(.notFound): outcome = .success(nil)
            case .failure(let error): outcome = .failure(error)
            }
            loop.execute { bound.value.finishLocal(outcome) }
        }
        let token = changeToken(id)
        for holder in holders {
            distribution.send(
                DeleteMessage.request(id, to: holder, token: token), copies.client, on: loop
            ) { DeleteMessage.problem($0) }
        }
    }

    private static func result(
        of outcome: Distribution<UInt64?>.Outcome, _ id: FileID
    ) -> Result<UInt64, ChangeError> {
        switch outcome.local {
        case .failure(let error): return .failure(.local(error))
        case .success where !outcome.failures.isEmpty:
            return .failure(
                .holders("failed to delete on replicas of volume \(id.volume): \(outcome.text)"))
        case .success(let size?): return .success(size)
        case .success(nil):
            // Gone here already: another holder may still have had it.
            let deleted = outcome.answers.first { $0.status != 404 }
            guard let deleted else { return .failure(.local(.notFound(id.volume, id.key))) }
            return .success(DeleteMessage.size(deleted))
        }
    }

    /// Deletes a file wherever it is.
    func deleteAnywhere(_ id: FileID) async -> Result<UInt64, ChangeError> {
        if let volume = store.volume(id.volume) {
            let loop = loops.next()
            return await withCheckedContinuation { continuation in
                loop.execute {
                    self.deleteEverywhere(id, volume, isReplicate: false, on: loop) {
                        continuation.resume(returning: $0)
                    }
                }
            }
        }
        guard case .absent = store.lookup(id.volume), master != nil,
            case .success(let holders) = await copies.holders.find(id.volume, copies: 1),
            !holders.isEmpty
        else { return .failure(.local(.noVolume(id.volume))) }
        var problem = ""
        for holder in holders.shuffled() {
            let token = changeToken(id)
            do {
                let answer = try await copies.client.send {
                    DeleteMessage.request(id, to: holder, token: token, query: "proxied=true")
                }
                if answer.status == 404 { return .failure(.local(.notFound(id.volume, id.key))) }
                guard let reason = DeleteMessage.problem(answer) else {
                    return .success(DeleteMessage.size(answer))
                }
                problem = "\(holder): \(reason)"
            } catch {
                problem = error.description
            }
        }
        copies.holders.doubt(id.volume)
        return .failure(.holders(problem))
    }
}

/// What other servers are told to delete a file.
enum DeleteMessage {
    /// The request for one holder; `type=replicate` makes it delete its own copy only.
    static func request(
        _ id: FileID, to address: String, token: String?, query: String = "type=replicate"
    ) -> ClientRequest {
        var headers = [(name: "Content-Length", value: "0")]
        if let token { headers.append((name: "Authorization", value: "Bearer \(token)")) }
        var request = ClientRequest(
            address: address,
            head: ClientRequest.head("DELETE", "/\(id)?\(query)", to: address, headers: headers))
        request.patience = CopyMessage.patience
        return request
    }

    /// Why an answer does not mean that the file is gone; `nil` when it does.
    static func problem(_ answer: ClientAnswer) -> String? {
        [200, 202, 204, 404].contains(answer.status) ? nil : CopyMessage.reason(answer)
    }

    /// The size that was deleted.
    static func size(_ answer: ClientAnswer) -> UInt64 {
        struct Deleted: Decodable { var size: UInt64? }
        let data = Data(answer.body.readableBytesView.prefix(4096))
        return (try? JSONDecoder().decode(Deleted.self, from: data))?.size ?? 0
    }
}

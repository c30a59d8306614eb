import HTTPServer
import Model
import NIOCore
import Needles
import Wire

extension VolumeService {
    /// Answers `/delete?fid=…&fid=…`: deletes many files and tells of each what came of it.
    func batchDelete(_ request: HTTPRequest, _ exchange: Exchange) {
        guard allowsChange(request, exchange, nil) else { return }
        let ids = request.query.all("fid")
        Task {
            var json = JSONWriter(pretty: request.wantsPretty)
            var results: [(String, UInt64, String?)] = []
            for id in ids { results.append(await self.deleteOne(id)) }
            json.array { json in
                for (fid, size, error) in results {
                    json.object {
                        $0.field("fid", fid)
                        $0.field("size", size)
                        if let error { $0.field("error", error) }
                    }
                }
            }
            let answer = json
            exchange.hop {
                self.respond(exchange, to: request, 202, json: answer)
            }
        }
    }

    private func deleteOne(_ text: String) async -> (String, UInt64, String?) {
        let id: FileID
        do {
            id = try FileID(text)
        } catch {
            return (text, 0, error.description)
        }
        switch await deleteAnywhere(id) {
        case .success(let size):
            counters.count(counters.deletes)
            return (text, size, nil)
        case .failure(.local(.cookieMismatch)): return (text, 0, VolumeService.wrongCookie)
        case .failure(let error): return (text, 0, error.description)
        }
    }
}

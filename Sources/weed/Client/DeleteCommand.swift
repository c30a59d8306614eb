import ArgumentParser
import Model
import Wire

/// `weed delete`: deletes files by their ids.
struct DeleteCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "delete",
        abstract: "Delete files by their ids, all copies and all chunks.",
        discussion: """
            weed delete -master=localhost:9333 3,01637037d6 4,02deadbeef

            Prints a JSON array: the size of each file as it was stored, or why it is not deleted.
            """)

    @Option(
        name: .go("master", "server"), help: "host:port of the masters, separated by commas.")
    var master = MasterList.standard
    @Option(name: .go("debug"), help: "Tell every request on standard error.")
    var debug = Switch(false)
    @Argument(help: "Ids of files.") var fids: [String]

    /// Files under way at once.
    static let parallelFiles = 4

    /// What became of one file.
    private struct Outcome: Sendable {
        let fid: String
        let result: Result<Int, ClientError>
    }

    func run() throws {
        let fids = fids
        let outcomes = try ClusterClient.with(masters: master, isVerbose: debug.isOn) {
            client async throws(CommandFailure) in
            var outcomes: [Outcome] = []
            await Work.inOrder(fids, parallel: DeleteCommand.parallelFiles) { fid in
                await DeleteCommand.delete(fid, client)
            } deliver: {
                outcomes.append($0)
            }
            return outcomes
        }
        Terminal.out(DeleteCommand.json(outcomes))
        let failed = outcomes.count { if case .failure = $0.result { true } else { false } }
        guard failed == 0 else {
            throw CommandFailure("\(failed) of \(fids.count) files are not deleted; see above")
        }
    }

    private static func delete(_ fid: String, _ client: ClusterClient) async -> Outcome {
        do throws(ClientError) {
            do { _ = try FileID(fid) } catch { throw ClientError.badFileID(fid) }
            return Outcome(fid: fid, result: .success(try await client.delete(fid)))
        } catch {
            return Outcome(fid: fid, result: .failure(error))
        }
    }

    private static func json(_ outcomes: [Outcome]) -> String {
        var json = JSONWriter()
        json.array { list in
            for outcome in outcomes {
                list.object {
                    $0.field("fid", outcome.fid)
                    switch outcome.result {
                    case .success(let size): $0.field("size", size)
                    case .failure(let error): $0.field("error", error.description)
                    }
                }
            }
        }
        return json.text
    }
}

import HTTPClient
import Logging
import Model
import NIOCore
import NIOPosix
import Needles
import Platform
import Synchronization
import Wire

/// What a volume server needs to keep copies on other servers equal.
final class Copies: Sendable {
    let client: HTTPClient
    let holders: HolderTable
    let ledger: Ledger
    /// Own address, once the server is bound.
    private let address: AddressBox

    /// The address of a server that learns its port late.
    private final class AddressBox: Sendable {
        let value = Mutex("")
    }

    /// Opens the ledger.
    ///
    /// Blocks.
    init(
        directory: String, disk: any Disk, group: any EventLoopGroup, pool: NIOThreadPool,
        master: (any MasterPeer)?, logger: Logger
    ) throws {
        let box = AddressBox()
        address = box
        client = HTTPClient(group: group)
        holders = HolderTable(master: master) { box.value.withLock { $0 } }
        ledger = try Ledger(in: directory, disk: disk, pool: pool, logger: logger)
    }

    /// Tells which address is this server's own.
    func setAddress(_ own: String) { address.value.withLock { $0 = own } }
}

extension VolumeService {
    /// The token that shows other servers that a change of a file is allowed; `nil` when none is
    /// needed.
    func changeToken(_ id: FileID) -> String? { writeTokens.sign(id) }

    /// How many copies a file of a volume has that this server must see to; 1 when there is nothing
    /// to see to.
    static func copies(_ volume: Volume, isReplicate: Bool) -> Int {
        isReplicate ? 1 : volume.replication.copies
    }
}

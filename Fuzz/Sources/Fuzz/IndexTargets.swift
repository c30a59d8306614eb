import Model
import NIOCore
import Platform
import Synchronization

@testable import Needles

/// Side files of volumes, and file ids.
enum IndexTargets {
    static let all = [
        FuzzTarget(name: "idx", run: legacyIndex), FuzzTarget(name: "vif", run: volumeInfo),
        FuzzTarget(name: "fid", run: fileID),
    ]

    /// An index of the original beside a small sound data file.
    static func legacyIndex(_ input: ByteInput) {
        let sound = MemoryDisk()
        let maker = Box(sound)
        guard let volume = maker.create() else { return }
        for key in NeedleKey(1)...4 { volume.put(key, [UInt8](repeating: 7, count: Int(key))) }
        volume.close()
        let disk = MemoryDisk()
        disk.put("/v/1.dat", sound.files.withLock { $0["/v/1.dat"] }?.bytes.withLock { $0 } ?? [])
        disk.put("/v/1.idx", input.all)
        let box = Box(disk)
        guard let opened = box.open() else {
            preconditionFailure("an index must not stop a volume")
        }
        for (key, _) in opened.entries { _ = try? opened.read(key, cookie: 0xc0ffee) }
        opened.put(50, [5])
        box.reopen(opened)
    }

    static func volumeInfo(_ input: ByteInput) {
        let disk = MemoryDisk()
        disk.put("/1.vif", input.all)
        _ = VolumeInfoFile(reading: "/1.vif", on: disk)
    }

    static func fileID(_ input: ByteInput) {
        let text = String(decoding: input.all, as: UTF8.self)
        // key 0 is never handed out; its text form is too short to be one
        guard let id = try? FileID(text), id.key > 0 else { return }
        let printed = id.description
        guard let again = try? FileID(printed) else { preconditionFailure("\(printed) is none") }
        precondition(again == id, "\(printed) is another id")
    }
}

import Foundation
import Glibc
import RaftLog
import Testing

@Suite struct DiskFullTests {
    @Test(.enabled(if: geteuid() == 0, "mounting a small tmpfs needs root"))
    func `a full disk refuses and changes nothing`() throws {
        let directory = try MasterDirectory()
        guard unsafe mount("tmpfs", directory.path, "tmpfs", 0, "size=512k") == 0 else {
            print("skipped: no right to mount a tmpfs here (errno \(errno))")
            return
        }
        defer { unsafe umount2(directory.path, CInt(MNT_DETACH)) }
        let ballast = directory.path + "/ballast"
        try directory.store([UInt8](repeating: 1, count: 100 << 10), at: ballast)
        let last = try directory.withLog { log throws in
            var number: UInt64 = 0
            var seen: RaftLogError?
            while seen == nil, number < 10_000 {
                let blob = Array("state \(number + 1)".utf8)
                seen = failure { () throws(RaftLogError) in
                    try log.appendAndApply(
                        type: 1, payload: [UInt8](repeating: 9, count: 1000), state: blob)
                }
                if seen == nil { number += 1 }
            }
            #expect(seen == .diskFull(path: directory.data))
            #expect(
                seen?.description == "\(directory.data): no space left on the device, nothing was "
                    + "written; free space and retry")
            #expect(number > 20)
            #expect(try log.last.index == number)
            #expect(try log.state?.blob == Array("state \(number)".utf8))
            try FileManager.default.removeItem(atPath: ballast)
            #expect(try log.appendAndApply(type: 1, payload: [1], state: [2]) == number + 1)
            return number + 1
        }
        try directory.withLog { log throws in
            #expect(try log.state == AppliedState(appliedIndex: last, blob: [2]))
        }
    }
}

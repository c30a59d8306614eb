internal import Model
internal import NIOCore
internal import Platform

/// The original's `.idx`: a log of rows of 16 or 17 bytes (`docs/format.md`, index rows).
struct LegacyIndex {
    /// One row.
    ///
    /// `size` below 0 is a delete; `offset` 0 is a delete without a record.
    struct Row: Equatable {
        var key: NeedleKey
        var offset: UInt64
        var size: Int32

        var isDelete: Bool { offset == 0 || size < 0 }
    }

    /// Bytes of the pieces in which rows are read.
    static let piece = 1 << 20

    let file: any DiskFile
    let width: Int
    /// Whole rows in the file.
    let rows: UInt64
    /// Bytes of a cut row at the end.
    let tornBytes: Int

    /// Opens `path` and tells the row width: from `declared` (`.vif` bytesOffset 4 or 5) if the
    /// file's length agrees, else from the first row, which names the first record.
    ///
    /// `nil` when there is no such file or its rows make no sense.
    init?(
        opening path: String, on disk: any Disk, data: DataFile, declared: Int?
    ) throws(NeedleError) {
        guard disk.exists(path) else { return nil }
        do {
            file = try disk.open(path, .read)
            let length = try file.length()
            let width = try LegacyIndex.width(
                file, length: length, data: data, declared: declared.map { $0 + 12 })
            guard let width else { return nil }
            self.width = width
            rows = length / UInt64(width)
            tornBytes = Int(length % UInt64(width))
        } catch let error as DiskError {
            throw NeedleError(error)
        } catch let error as NeedleError {
            throw error
        } catch {
            throw .io("\(error)")
        }
    }

    private static func width(
        _ file: any DiskFile, length: UInt64, data: DataFile, declared: Int?
    ) throws(NeedleError) -> Int? {
        if length == 0 { return declared ?? 17 }
        let head = try readBuffer(file, at: 0, count: Int(min(length, 16 * 17 * 4)))
        var candidates: [Int] = [17, 16]
        if let declared, candidates.contains(declared) {
            candidates = [declared] + candidates.filter { $0 != declared }
        }
        // the width under which most of the first rows name records with their key
        var best: (width: Int, hits: Int)?
        for width in candidates {
            var hits = 0
            for row in 0..<min(16, head.readableBytes / width) {
                guard let row = LegacyIndex.row(head, at: row * width, width: width),
                    row.offset >= data.superBlock.firstRecord || row.offset == 0
                else { continue }
                if row.offset == 0 {
                    hits += 1
                } else if let header = try data.header(at: row.offset), header.id == row.key {
                    hits += 2
                }
            }
            if hits > best?.hits ?? 0 { best = (width, hits) }
        }
        return best?.width ?? declared
    }

    private static func row(_ buffer: ByteBuffer, at index: Int, width: Int) -> Row? {
        guard let key = buffer.getInteger(at: index, as: UInt64.self),
            let low = buffer.getInteger(at: index + 8, as: UInt32.self),
            let size = buffer.getInteger(at: index + width - 4, as: Int32.self)
        else { return nil }
        var offset = UInt64(low)
        if width == 17, let high = buffer.getInteger(at: index + 12, as: UInt8.self) {
            offset |= UInt64(high) << 32
        }
        return Row(key: key, offset: offset << 3, size: size)
    }

    /// Calls `body` for every row in file order.
    func forEachRow(_ body: (Row) throws(NeedleError) -> Void) throws(NeedleError) {
        let perPiece = LegacyIndex.piece / width
        var next: UInt64 = 0
        while next < rows {
            let count = Int(min(UInt64(perPiece), rows - next))
            let buffer = try readBuffer(file, at: next * UInt64(width), count: count * width)
            for index in 0..<count {
                guard let row = LegacyIndex.row(buffer, at: index * width, width: width) else {
                    return
                }
                try body(row)
            }
            next += UInt64(count)
        }
    }

    /// Appends a row of 17 bytes to a buffer.
    static func append(_ row: Row, to buffer: inout ByteBuffer) {
        buffer.writeInteger(row.key)
        buffer.writeInteger(UInt32(truncatingIfNeeded: row.offset >> 3))
        buffer.writeInteger(UInt8(truncatingIfNeeded: row.offset >> 35))
        buffer.writeInteger(row.size)
    }
}

import Glibc
import NIOCore
import NIOPosix
import Platform

/// A file of this machine that is being uploaded.
struct SourceFile: Sendable {
    /// Where it is.
    let path: String
    /// Its name without directories.
    let name: String
    /// Bytes it had when it was opened.
    let size: UInt64
    /// Seconds since 1970 of its last change.
    let modified: Int
    private let file: any DiskFile

    /// Most bytes of a file that are in memory at once, for each piece that is under way.
    static let pieceBytes = 256 << 10

    /// Opens a regular file.
    init(_ path: String) throws(ClientError) {
        self.path = path
        name = String(path.split(separator: "/").last ?? "file")
        let status = try SourceFile.check(path)
        size = UInt64(max(0, status.st_size))
        modified = status.st_mtim.tv_sec
        do {
            file = try PosixDisk().open(path, .read)
        } catch {
            throw .local(path, code: error.code)
        }
    }

    /// Looks whether there is a regular file.
    @discardableResult
    static func check(_ path: String) throws(ClientError) -> stat {
        var status = stat()
        guard unsafe stat(path, &status) == 0 else { throw .local(path, code: errno) }
        switch status.st_mode & S_IFMT {
        case S_IFREG: return status
        case S_IFDIR:
            throw .local(
                path: path, why: "is a directory; -dir=<directory> uploads what is in one")
        default: throw .local(path: path, why: "is no file that can be read to its end")
        }
    }

    /// Reads a piece on a thread that may wait for the disk.
    func read(_ range: Range<UInt64>) async throws -> ByteBuffer {
        let file = file
        let path = path
        return try await NIOThreadPool.singleton.runIfActive {
            var buffer = ByteBuffer()
            let wanted = Int(range.upperBound - range.lowerBound)
            let count = try unsafe buffer.writeWithUnsafeMutableBytes(minimumWritableBytes: wanted)
            { space throws(ClientError) in
                let target = unsafe UnsafeMutableRawBufferPointer(rebasing: space[..<wanted])
                do throws(DiskError) {
                    return try unsafe file.read(into: target, at: range.lowerBound)
                } catch {
                    throw .local(path, code: error.code)
                }
            }
            guard count == wanted else {
                throw ClientError.local(
                    path: path, why: "became shorter while it was uploaded; try it again")
            }
            return buffer
        }
    }
}

/// A multipart body around a part of a file, read as it is sent.
struct UploadBody: AsyncSequence, Sendable {
    typealias Element = ByteBuffer

    private let head: ByteBuffer
    private let tail: ByteBuffer
    private let content: Content
    /// The value of the `Content-Type` header.
    let contentType: String

    /// What is uploaded.
    enum Content: Sendable {
        /// A range of a file.
        case file(SourceFile, Range<UInt64>)
        /// Bytes in memory.
        case bytes(ByteBuffer)

        /// How many bytes it is.
        var count: Int {
            switch self {
            case .file(_, let range): Int(range.upperBound - range.lowerBound)
            case .bytes(let buffer): buffer.readableBytes
            }
        }
    }

    /// A body of one part with the name and, when given, the type of its file.
    init(_ content: Content, name: String, mime: String? = nil) {
        let boundary =
            "weed-\(UInt64.random(in: .min ... .max))-\(UInt64.random(in: .min ... .max))"
        var text = "--\(boundary)\r\nContent-Disposition: form-data; name=\"file\"; "
        text += UploadBody.parameter(name) + "\r\n"
        if let mime { text += "Content-Type: \(mime)\r\n" }
        head = ByteBuffer(string: text + "\r\n")
        tail = ByteBuffer(string: "\r\n--\(boundary)--\r\n")
        self.content = content
        contentType = "multipart/form-data; boundary=\(boundary)"
    }

    /// Bytes of the whole body.
    var length: Int { head.readableBytes + content.count + tail.readableBytes }

    /// A file name as a parameter of `Content-Disposition`; what a header cannot hold is escaped.
    static func parameter(_ name: String) -> String {
        let isPlain = name.utf8.allSatisfy {
            (0x20...0x7e).contains($0) && $0 != 0x22 && $0 != 0x5c
        }
        return isPlain
            ? "filename=\"\(name)\"" : "filename*=utf-8''\(ClusterClient.escaped(name))"
    }

    func makeAsyncIterator() -> Iterator {
        Iterator(head: head, content: content, tail: tail)
    }

    /// Reads the file piece by piece.
    struct Iterator: AsyncIteratorProtocol {
        private var head: ByteBuffer?
        private var content: Content?
        private var tail: ByteBuffer?

        fileprivate init(head: ByteBuffer, content: Content, tail: ByteBuffer) {
            self.head = head
            self.content = content
            self.tail = tail
        }

        mutating func next() async throws -> ByteBuffer? {
            if let piece = head {
                head = nil
                return piece
            }
            switch content {
            case .bytes(let piece)?:
                content = nil
                if piece.readableBytes > 0 { return piece }
            case .file(let file, let range)? where !range.isEmpty:
                let end = Swift.min(
                    range.upperBound, range.lowerBound + UInt64(SourceFile.pieceBytes))
                content = .file(file, end..<range.upperBound)
                return try await file.read(range.lowerBound..<end)
            default: content = nil
            }
            defer { tail = nil }
            return tail
        }
    }
}

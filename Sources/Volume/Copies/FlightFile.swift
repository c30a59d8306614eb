import Glibc
import Model

/// The changes that are under way, in memory that the system keeps when the process is killed: a
/// mapped file of slots.
///
/// Setting and clearing a slot costs no system call. What is set at start was under way when the
/// process ended: nobody knows which servers have it.
@safe final class FlightFile {
    static let name = "copies.underway"
    /// Changes that may be under way at a time.
    static let slots = 16_384
    private static let slotBytes = 32
    private static let bytes = slots * slotBytes

    private let memory: UnsafeMutableRawPointer

    /// Maps the file in a directory, made if it is not there; `found` gets what was under way.
    ///
    /// Throws the number of the system's error. Blocks.
    init(in directory: String, found: inout [FileID]) throws(FlightError) {
        let path = directory + "/" + FlightFile.name
        let descriptor = unsafe open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0o644)
        guard descriptor >= 0 else { throw FlightError(call: "open", path: path, code: errno) }
        defer { close(descriptor) }
        // Blocks are reserved: a full disk must not end the process when a page is touched.
        let code = posix_fallocate(descriptor, 0, off_t(FlightFile.bytes))
        guard code == 0 else { throw FlightError(call: "fallocate", path: path, code: code) }
        let mapped = unsafe mmap(
            nil, FlightFile.bytes, PROT_READ | PROT_WRITE, MAP_SHARED, descriptor, 0)
        guard let mapped = unsafe mapped, unsafe mapped != MAP_FAILED else {
            throw FlightError(call: "mmap", path: path, code: errno)
        }
        unsafe memory = mapped
        for slot in 0..<FlightFile.slots {
            if let id = read(slot) { found.append(id) }
        }
    }

    deinit { unsafe munmap(memory, FlightFile.bytes) }

    /// Marks a change as under way.
    func set(_ slot: Int, _ id: FileID) {
        let base = slot * FlightFile.slotBytes
        unsafe memory.storeBytes(of: id.key, toByteOffset: base + 8, as: UInt64.self)
        unsafe memory.storeBytes(of: id.cookie, toByteOffset: base + 16, as: UInt32.self)
        unsafe memory.storeBytes(of: id.volume, toByteOffset: base + 4, as: UInt32.self)
        // At last: the slot counts from here on.
        unsafe memory.storeBytes(of: 1, toByteOffset: base, as: UInt32.self)
    }

    /// The change is over, or written down elsewhere.
    func clear(_ slot: Int) {
        unsafe memory.storeBytes(of: 0, toByteOffset: slot * FlightFile.slotBytes, as: UInt32.self)
    }

    private func read(_ slot: Int) -> FileID? {
        let base = slot * FlightFile.slotBytes
        guard unsafe memory.load(fromByteOffset: base, as: UInt32.self) != 0 else { return nil }
        return FileID(
            volume: unsafe memory.load(fromByteOffset: base + 4, as: UInt32.self),
            key: unsafe memory.load(fromByteOffset: base + 8, as: UInt64.self),
            cookie: unsafe memory.load(fromByteOffset: base + 16, as: UInt32.self))
    }
}

/// The table of changes under way cannot be used.
struct FlightError: Error, CustomStringConvertible {
    let call: String
    let path: String
    let code: CInt

    var description: String {
        "\(call) \(path): \(unsafe String(cString: strerror(code))); make room in that directory, or "
            + "remove the file if it is damaged"
    }
}

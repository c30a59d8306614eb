internal import CPosix

/// CRC-32C (Castagnoli), with the processor's instruction where there is one.
public enum CRC32C {
    /// The checksum of bytes, continuing from an earlier one (0 to start).
    public static func checksum(_ bytes: RawSpan, continuing crc: UInt32 = 0) -> UInt32 {
        unsafe bytes.withUnsafeBytes { unsafe weed_crc32c(crc, $0.baseAddress, $0.count) }
    }

    /// The checksum of bytes in memory, continuing from an earlier one (0 to start).
    public static func checksum(
        _ bytes: UnsafeRawBufferPointer, continuing crc: UInt32 = 0
    ) -> UInt32 {
        unsafe weed_crc32c(crc, bytes.baseAddress, bytes.count)
    }
}

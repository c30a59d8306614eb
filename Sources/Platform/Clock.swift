import Glibc

/// Wall-clock time as the engine stores it.
public enum WallClock {
    /// Nanoseconds since 1970.
    public static var nanoseconds: UInt64 {
        var time = timespec()
        unsafe clock_gettime(CLOCK_REALTIME, &time)
        return UInt64(time.tv_sec) * 1_000_000_000 + UInt64(time.tv_nsec)
    }

    /// Seconds since 1970.
    public static var seconds: UInt64 { nanoseconds / 1_000_000_000 }
}

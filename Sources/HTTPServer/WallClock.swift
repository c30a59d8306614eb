import Glibc

/// Seconds since 1970 now.
@Sendable
func currentUnixSeconds() -> Int64 {
    Int64(time(nil))
}

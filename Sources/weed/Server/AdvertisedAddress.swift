import ArgumentParser
import Glibc

/// The address told to clients, and how it was found.
struct AdvertisedAddress: Sendable, Equatable {
    /// A host name or an address, without port.
    let host: String
    /// Why this one, for the start-up lines.
    let reason: String

    /// The `-ip` flag, else the first IPv4 address that is up and not loopback, else 127.0.0.1.
    static func choose(flag: String?) throws -> AdvertisedAddress {
        if let flag {
            guard !flag.isEmpty, !flag.contains("/"), !flag.contains(" ") else {
                throw ValidationError("-ip=\(flag) is no host name or address")
            }
            return AdvertisedAddress(host: flag, reason: "given by -ip")
        }
        guard let found = firstExternal() else {
            return AdvertisedAddress(
                host: "127.0.0.1",
                reason: "this machine has no other IPv4 address; -ip=<host> chooses another")
        }
        return AdvertisedAddress(
            host: found.address,
            reason: "guessed from interface \(found.interface); -ip=<host> chooses another")
    }

    private static func firstExternal() -> (interface: String, address: String)? {
        var first: UnsafeMutablePointer<ifaddrs>?
        guard unsafe getifaddrs(&first) == 0 else { return nil }
        defer { unsafe freeifaddrs(first) }
        var next = unsafe first
        while let entry = unsafe next?.pointee {
            unsafe next = entry.ifa_next
            let flags = unsafe entry.ifa_flags
            guard flags & UInt32(IFF_UP) != 0, flags & UInt32(IFF_LOOPBACK) == 0,
                let socket = unsafe entry.ifa_addr,
                unsafe socket.pointee.sa_family == sa_family_t(AF_INET)
            else { continue }
            let address = unsafe socket.withMemoryRebound(to: sockaddr_in.self, capacity: 1) {
                UInt32(bigEndian: unsafe $0.pointee.sin_addr.s_addr)
            }
            // 169.254.0.0/16 is what a machine gives itself when nobody gives it an address.
            guard address != 0, address >> 16 != 0xa9fe else { continue }
            let name = unsafe String(cString: entry.ifa_name)
            return (name, text(address))
        }
        return nil
    }

    private static func text(_ address: UInt32) -> String {
        [24, 16, 8, 0].map { String(address >> UInt32($0) & 255) }.joined(separator: ".")
    }
}

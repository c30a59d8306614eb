import ArgumentParser

/// What `weed server` was asked to do, checked.
struct ServerConfiguration: Sendable {
    /// What both servers were told.
    var process: ProcessSettings
    /// What the master was told.
    var master: MasterSettings
    /// What the volume server was told.
    var volume: VolumeSettings

    /// Checks the flags; the errors say which one and what it takes.
    init(_ flags: ServerCommand) throws {
        process = try ProcessSettings(flags.process, idleTimeout: flags.store.idleTimeout)
        // the master's own address is put in its place when its port is known
        volume = try VolumeSettings(flags.volume, flags.store, masters: .standard)
        master = try MasterSettings(
            flags.master, process,
            directory: flags.master.dir ?? volume.directories[0].path)
        try Checked.distinct([
            ("master.port", master.ports.http), ("master.port.grpc", master.ports.grpc),
            ("volume.port", volume.ports.http), ("volume.port.grpc", volume.ports.grpc),
            (
                "volume.port.public",
                volume.ports.readOnly == volume.ports.http ? 0 : volume.ports.readOnly
            ),
        ])
    }
}

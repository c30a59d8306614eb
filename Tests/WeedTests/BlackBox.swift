import Testing

/// Tests that start the built `weed` as a process and talk to it over HTTP, one at a time.
@Suite(.serialized) enum BlackBox {}

//! The plugins that are part of the program. They need no grant: a connection that has their slot's name
//! is theirs.

/// Name and component of each.
pub(super) const EMBEDDED: &[(&str, &[u8])] = &[
    ("supervisor", include_bytes!("../../../plugins/dist/supervisor.wasm")),
    ("webhook", include_bytes!("../../../plugins/dist/webhook.wasm")),
];

//! What `wasmtime` makes of the contract in `wit/`. Only [`super`] uses these types; everything else uses
//! the plain ones of [`super::types`].

#![allow(missing_docs, unreachable_pub, clippy::all, clippy::pedantic)]

wasmtime::component::bindgen!({
    path: "../wit",
    world: "vigil:remediator/plugin",
    imports: {
        "vigil:host/connections.send": async | trappable,
        "vigil:host/execution.sleep-ms": async | trappable,
        default: trappable,
    },
    exports: { default: async },
    require_store_data_send: true,
});

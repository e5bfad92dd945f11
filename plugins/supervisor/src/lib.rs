//! Vigil's `supervisor` plugin: restarts, starts, stops and scales the
//! processes of a supervisord over its XML-RPC interface.

mod actions;
mod describe;
mod params;
mod process;
mod rpc;
#[cfg(test)]
mod tests;
mod xmlrpc;

use vigil_plugin_sdk::{Description, Error, Outcome, ParamProblem, Plugin, Request};

struct Supervisor;
vigil_plugin_sdk::export!(Supervisor);

impl Plugin for Supervisor {
    fn describe() -> Description {
        describe::description()
    }

    fn validate(request: &Request) -> Result<(), Vec<ParamProblem>> {
        params::Params::of(request).map(drop)
    }

    fn execute(request: &Request) -> Result<Outcome, Error> {
        let params = params::Params::of(request).map_err(Error::Invalid)?;
        actions::run(&mut rpc::Host, request, &params)
    }
}

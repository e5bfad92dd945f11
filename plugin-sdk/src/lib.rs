//! Write a Vigil plugin in Rust: one trait and one macro.
//!
//! A plugin implements [`Plugin`] and names its type to [`export!`]; compiled
//! for `wasm32-wasip2` it is a component of the world `vigil:remediator/plugin`.
//! What it may do to the outside it does through [`connections`], [`log`],
//! [`config`] and [`execution`]: they are the host's, subject to the
//! operator's grants.
//!
//! The crate also compiles natively, so that a plugin's logic can be tested
//! without a sandbox. There every call to the host answers as if nothing had
//! been granted.
#![cfg_attr(not(target_arch = "wasm32"), forbid(unsafe_code))]

pub mod config;
pub mod connections;
mod describe;
mod error;
pub mod execution;
pub mod log;
mod outcome;
mod path;
mod request;
#[doc(hidden)]
pub mod sys;

pub use describe::{Action, Capability, Description, Effects, Risk};
pub use error::{Error, Failure};
pub use outcome::{Change, ChangeStatus, Outcome};
pub use path::Path;
pub use request::{ParamProblem, Request, Target, Trigger};
pub use serde_json;

/// What a plugin is. Every call runs in a fresh instance, so there is no
/// `self`: nothing survives from one call to the next.
pub trait Plugin {
    /// Says what the plugin is and which actions it has. Called once at load,
    /// with every way to the outside cut off; the same answer every time.
    fn describe() -> Description;

    /// Checks what a JSON Schema cannot express. No side effects.
    fn validate(request: &Request) -> Result<(), Vec<ParamProblem>> {
        let _ = request;
        Ok(())
    }

    /// Carries the action out.
    fn execute(request: &Request) -> Result<Outcome, Error>;
}

/// Exports a type that implements [`Plugin`] as the component's plugin. Once
/// per crate; outside `wasm32` it only checks that the trait is implemented.
#[macro_export]
macro_rules! export {
    ($plugin:ty) => {
        const _: fn() -> $crate::Description = <$plugin as $crate::Plugin>::describe;

        #[cfg(target_arch = "wasm32")]
        const _: () = {
            type Exported = $crate::sys::Adapter<$plugin>;
    $crate::sys::bindings::export!(Exported with_types_in $crate::sys::bindings);
        };
    };
}

/// Compiles the author's guide.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;

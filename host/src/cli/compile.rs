//! `vigil compile-component`: the child that compiles a plugin, so that a hostile one can only kill the child.

use std::ffi::OsString;
use std::process::ExitCode;

use clap::Args;

/// Whatever the parent says.
#[derive(Args, Debug)]
pub struct Options {
    /// Given by the parent.
    #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
    pub args: Vec<OsString>,
}

/// Compiles standard input to standard output and ends.
#[must_use]
pub fn run(_options: &Options) -> ExitCode {
    crate::plugin::compile_child()
}

//! `vigil compile-component`: the child that compiles a plugin, so that a hostile one can only kill the child.

use std::ffi::OsString;

use clap::Args;

use super::Error;

/// Whatever the parent says.
#[derive(Args, Debug)]
pub struct Options {
    /// Given by the parent.
    #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
    pub args: Vec<OsString>,
}

/// Compiles and ends.
pub fn run(_options: &Options) -> Result<(), Error> {
    Err(Error::Failed("nothing to compile yet".into()))
}

//! The one binary: it wires the parts together, and is the only place with a clock, a terminal and an exit status.

mod adapters;
mod authority;
mod bench;
mod cli;
mod config;
mod control;
mod demo;
mod lab;
mod logging;
mod output;
mod proposing;
mod serve;
mod siem;
mod trust;

use std::process::ExitCode;

fn main() -> ExitCode {
    cli::main()
}

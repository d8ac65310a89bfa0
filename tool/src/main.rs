//! `cargo xenios`: the one entrance to building, running, testing and measuring Xenios.
#![forbid(unsafe_code)]

mod cli;
mod cmd;
mod hardened;
mod image;
mod kernel;
mod symbols;
mod tidy;
mod workspace;

use clap::Parser;
use std::process::ExitCode;

fn main() -> ExitCode {
    let mut arguments: Vec<_> = std::env::args_os().collect();
    // Cargo calls a subcommand's program with the subcommand's name as first argument.
    if arguments.get(1).is_some_and(|word| word == "xenios") {
        arguments.remove(1);
    }
    let cli = cli::Cli::parse_from(arguments);
    match cmd::run(cli) {
        Ok(status) => ExitCode::from(status),
        Err(error) => {
            eprintln!("error: {error}");
            if let Some(help) = error.what_to_do() {
                eprintln!("help: {help}");
            }
            ExitCode::from(error.exit_status())
        }
    }
}

//! The daemon's front door: read the command line, start the logs, hand over to a command.

mod admin;
mod cli;
mod commands;
mod config;
mod memory;
mod notify;
mod null;
mod pipeline;
mod registry;
mod retry;
mod state;
mod status;
mod telemetry;

use clap::Parser;
use cli::{Cli, Command, exit};
use std::process::ExitCode;
use tidewire_core::failpoint::{self, Act};
use tidewire_core::sink::PurgeRequest;

fn main() -> ExitCode {
    memory::keep_flat();
    // Both TLS users of the process (sources and object stores) get the same provider, before any thread.
    let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(error) => {
            // `--help` and `--version` come this way too and are no mistakes.
            let code = if error.use_stderr() { exit::USAGE } else { exit::OK };
            let _ = error.print();
            return ExitCode::from(code);
        }
    };
    if let Err(message) = telemetry::start_logs(cli.global.log_format, &cli.global.log) {
        eprintln!("tidewire: {message}");
        return ExitCode::from(exit::USAGE);
    }
    arm_failpoint();
    let code = match &cli.command {
        Command::Run { accept_slot_position } => commands::run::run(&cli.global, accept_slot_position),
        Command::Check { offline } => commands::check::check(&cli.global, *offline),
        Command::Setup { source, apply } => commands::setup::setup(&cli.global, source.as_deref(), *apply),
        Command::Status { json, watch } => commands::status::status(&cli.global, *json, *watch),
        Command::Purge { sink, table, key, now } => {
            let request = PurgeRequest { table: table.clone(), key: key.clone(), now: *now };
            commands::purge::purge(&cli.global, sink, &request)
        }
        Command::Remove { source, yes } => commands::remove::remove(&cli.global, source, *yes),
    };
    ExitCode::from(code)
}

/// `TIDEWIRE_FAILPOINT=name[:pass[:error]]` ends the process at a named place, or lets the step there fail; for tests.
fn arm_failpoint() {
    let Ok(text) = std::env::var("TIDEWIRE_FAILPOINT") else { return };
    let mut parts = text.split(':');
    let (name, pass) = (parts.next().unwrap_or_default(), parts.next().unwrap_or("1"));
    let act = if parts.next() == Some("error") { Act::Fail } else { Act::End };
    tracing::info!(failpoint = name, pass, ?act, "a failpoint is armed");
    failpoint::arm(name, pass.parse().unwrap_or(1), act);
}

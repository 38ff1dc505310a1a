//! `tidewire setup`: the SQL that a source's database still needs.

use crate::cli::{Global, exit};
use crate::commands::{connectors, exit_code, load, print_error, runtime};

/// Runs the command.
pub(crate) fn setup(global: &Global, source: Option<&str>, apply: bool) -> u8 {
    let (config, faults) = match load(global) {
        Ok(loaded) => loaded,
        Err(code) => return code,
    };
    let connectors = match connectors(&config, faults, None) {
        Ok(connectors) => connectors,
        Err(code) => return code,
    };
    if let Some(name) = source.filter(|name| !connectors.sources.contains_key(*name)) {
        eprintln!("tidewire: `{name}` is not a configured source");
        return exit::USAGE;
    }
    let runtime = match runtime() {
        Ok(runtime) => runtime,
        Err(code) => return code,
    };
    let mut code = exit::OK;
    for (name, connector) in connectors.sources.iter().filter(|(name, _)| source.is_none_or(|only| only == *name)) {
        match runtime.block_on(connector.setup(apply)) {
            Ok(steps) => {
                let (all, left) = (steps.len(), steps.iter().filter(|step| step.left.is_some()).count());
                println!("-- source {name}: {}", if steps.is_empty() { "nothing is missing" } else { "still needed" });
                for step in steps {
                    println!("-- {}", step.reason.replace('\n', "\n-- "));
                    println!("{}", step.sql);
                    match step.applied {
                        Some(Ok(())) => println!("-- done"),
                        Some(Err(why)) => {
                            println!("-- not done: {why}");
                            code = exit::FAILED;
                        }
                        None => {}
                    }
                    if let Some(why) = step.left {
                        println!("-- left to a person: {}", why.replace('\n', "\n-- "));
                    }
                }
                if apply && left > 0 {
                    println!("-- source {name}: {left} of {all} statements are left to a person, and were not run");
                }
            }
            Err(error) => {
                print_error(&format!("source {name}"), &error);
                code = exit_code(&error);
            }
        }
    }
    code
}

//! `tidewire status`: asks the running daemon over its admin address and prints what it says.

use crate::cli::{Global, exit};
use crate::commands::{load, runtime};
use serde_json::Value;
use std::net::SocketAddr;
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

/// Largest answer that is read.
const ANSWER_BYTES_MAX: u64 = 64 << 20;
const ANSWER_MAX: Duration = Duration::from_secs(10);

/// Runs the command.
pub(crate) fn status(global: &Global, json: bool, watch: bool) -> u8 {
    let config = match load(global) {
        Ok((config, _)) => config,
        Err(code) => return code,
    };
    let runtime = match runtime() {
        Ok(runtime) => runtime,
        Err(code) => return code,
    };
    runtime.block_on(async {
        loop {
            match tokio::time::timeout(ANSWER_MAX, ask(config.admin_listen)).await {
                Ok(Ok(text)) if json => println!("{text}"),
                Ok(Ok(text)) => match serde_json::from_str(&text) {
                    Ok(document) => print(&document),
                    Err(error) => {
                        eprintln!("tidewire: the answer is no status document: {error}");
                        return exit::FAILED;
                    }
                },
                Ok(Err(error)) => {
                    eprintln!("tidewire: no daemon answers on {}: {error}", config.admin_listen);
                    return exit::FAILED;
                }
                Err(_) => {
                    eprintln!("tidewire: the daemon on {} does not answer", config.admin_listen);
                    return exit::FAILED;
                }
            }
            if !watch {
                return exit::OK;
            }
            tokio::select! {
                _ = tokio::signal::ctrl_c() => return exit::OK,
                () = tokio::time::sleep(Duration::from_secs(2)) => {}
            }
        }
    })
}

async fn ask(address: SocketAddr) -> std::io::Result<String> {
    let mut stream = TcpStream::connect(address).await?;
    let request = format!("GET /status.json HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).await?;
    let mut answer = Vec::new();
    stream.take(ANSWER_BYTES_MAX).read_to_end(&mut answer).await?;
    let text = String::from_utf8(answer).map_err(std::io::Error::other)?;
    match text.split_once("\r\n\r\n") {
        Some((head, body)) if head.starts_with("HTTP/1.1 200") => Ok(body.to_owned()),
        _ => Err(std::io::Error::other("something else listens there")),
    }
}

fn print(document: &Value) {
    let word = |value: &Value, key: &str| value.get(key).and_then(Value::as_str).unwrap_or("-").to_owned();
    let number = |value: &Value, key: &str| value.get(key).and_then(Value::as_f64).unwrap_or(0.0);
    let entries = |value: &Value, key: &str| value.get(key).and_then(Value::as_object).cloned().unwrap_or_default();
    println!("tidewire {} up {} s", word(document, "version"), number(document, "uptime_seconds"));
    for (name, source) in entries(document, "sources") {
        println!(
            "source {name}: {} lag {:.1} s at {} acknowledged {}",
            word(&source, "state"),
            number(&source, "lag_seconds"),
            word(&source, "position"),
            word(&source, "acknowledged"),
        );
        print_reason(&source, "  ");
        for (sink, view) in entries(&source, "sinks") {
            println!(
                "  sink {sink}: {} lag {:.1} s, {} changes in {} commits, at {}",
                word(&view, "state"),
                number(&view, "lag_seconds"),
                number(&view, "changes_committed"),
                number(&view, "commits"),
                word(&view, "position"),
            );
            print_reason(&view, "    ");
            for (table, reason) in entries(&view, "halted_tables") {
                println!("    table {table}: halted");
                print_reason(&serde_json::json!({ "reason": reason }), "      ");
            }
        }
        for (table, view) in entries(&source, "tables") {
            println!(
                "  table {table}: {} lag {:.1} s at {}, {} read, {} inserted, {} updated, {} deleted",
                word(&view, "state"),
                number(&view, "lag_seconds"),
                word(&view, "position"),
                number(&view, "reads"),
                number(&view, "inserts"),
                number(&view, "updates"),
                number(&view, "deletes"),
            );
        }
    }
}

fn print_reason(value: &Value, indent: &str) {
    let Some(reason) = value.get("reason").filter(|reason| !reason.is_null()) else {
        return;
    };
    let word = |key: &str| reason.get(key).and_then(Value::as_str);
    println!("{indent}{} [{}]", word("message").unwrap_or("-"), word("code").unwrap_or("-"));
    if let Some(remedy) = word("remedy") {
        println!("{indent}{}", remedy.replace('\n', &format!("\n{indent}")));
    }
}

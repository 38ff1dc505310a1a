//! A stand-in for Google Cloud Storage on a port of 127.0.0.1: what `object_store` sends of the XML interface, answered
//! from memory. It is ours, made from Google's description and the client's source, because no emulator takes the uploads
//! that this client makes. It shows that client and sink keep to that description, not how Google's servers behave.
//! It asks for no login. It may be told to fail.

mod contents;
mod objects;
mod wire;

pub use contents::Contents;

use crate::dice::Dice;
use anyhow::{Context, Result};
use objects::Objects;
use std::io::BufReader;
use std::net::{Ipv4Addr, Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use wire::{Answer, Request};

/// The bucket that is there from the beginning.
pub const BUCKET: &str = "lake";

/// A running store. It ends, and what it holds is gone, when this is dropped.
#[derive(Debug)]
pub struct Gcs {
    port: u16,
    shared: Arc<Shared>,
}

#[derive(Debug, Default)]
struct Shared {
    objects: Mutex<Objects>,
    trouble: Mutex<(Trouble, Dice)>,
    /// Requests that it has come to.
    troubled: AtomicU64,
    stopped: AtomicBool,
}

/// What the store does wrong, each to one of so many requests, by the seed; to none where that is 0.
#[derive(Clone, Copy, Debug, Default)]
pub struct Trouble {
    /// Says which.
    pub seed: u64,
    /// Answered with 503, and not done.
    pub refused: u64,
    /// Answered with 403, and not done: as when a token has expired.
    pub denied: u64,
    /// Done, and the connection closed without an answer.
    pub lost: u64,
    /// Done, and the connection closed after half of the answer.
    pub halved: u64,
    /// Done after up to half a second.
    pub late: u64,
}

/// What becomes of a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fate {
    Done,
    Refused,
    Denied,
    Lost,
    Halved,
}

impl Gcs {
    /// Starts one with an empty bucket.
    pub fn start() -> Result<Gcs> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).context("start a store")?;
        let port = listener.local_addr()?.port();
        let shared = Arc::new(Shared::default());
        let theirs = Arc::clone(&shared);
        std::thread::spawn(move || accept(&listener, &theirs));
        Ok(Gcs { port, shared })
    }

    /// From now on this goes wrong, and nothing else.
    pub fn trouble(&self, trouble: Trouble) {
        *self.shared.lock() = (trouble, Dice::new(trouble.seed));
    }

    /// Requests that went wrong, or were late.
    pub fn troubled(&self) -> u64 {
        self.shared.troubled.load(Ordering::Relaxed)
    }

    /// The port that it listens on.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// What a Delta client needs to know.
    pub fn options(&self) -> Vec<(String, String)> {
        options(self.port)
    }

    /// What is stored, behind the back of all clients and whatever goes wrong for them.
    pub fn contents(&self) -> Contents {
        Contents::of(Arc::clone(&self.shared))
    }
}

/// What a Delta client needs to know to find a store at a port, in the names that delta-rs and Polars use as well.
pub fn options(port: u16) -> Vec<(String, String)> {
    let key = serde_json::json!({
        "gcs_base_url": format!("http://127.0.0.1:{port}"), "disable_oauth": true,
        "client_email": "", "private_key": "", "private_key_id": "",
    });
    vec![("google_service_account_key".to_owned(), key.to_string())]
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, (Trouble, Dice)> {
        self.trouble.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn objects(&self) -> MutexGuard<'_, Objects> {
        self.objects.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Decides about a request, and waits when it is to be late.
    fn fate(&self) -> Fate {
        let (fate, late) = {
            let (trouble, dice) = &mut *self.lock();
            let mut is = |times: u64| times > 0 && dice.one_in(times);
            let fate = if is(trouble.refused) {
                Fate::Refused
            } else if is(trouble.denied) {
                Fate::Denied
            } else if is(trouble.lost) {
                Fate::Lost
            } else if is(trouble.halved) {
                Fate::Halved
            } else {
                Fate::Done
            };
            let is_late = is(trouble.late);
            (fate, if is_late { Duration::from_millis(dice.below(500)) } else { Duration::ZERO })
        };
        if fate != Fate::Done || !late.is_zero() {
            self.troubled.fetch_add(1, Ordering::Relaxed);
        }
        std::thread::sleep(late);
        fate
    }
}

impl Drop for Gcs {
    fn drop(&mut self) {
        self.shared.stopped.store(true, Ordering::SeqCst);
        // The accepting thread looks at the flag when somebody comes.
        let _ = TcpStream::connect(SocketAddr::from((Ipv4Addr::LOCALHOST, self.port)));
    }
}

fn accept(listener: &TcpListener, shared: &Arc<Shared>) {
    for client in listener.incoming() {
        if shared.stopped.load(Ordering::SeqCst) {
            return;
        }
        let Ok(client) = client else { continue };
        let shared = Arc::clone(shared);
        std::thread::spawn(move || {
            // A client that went away, or wrote nonsense, has lost its connection and nothing else.
            let _ = serve(&client, &shared);
        });
    }
}

/// Answers one request after the other until the client goes.
fn serve(client: &TcpStream, shared: &Shared) -> Result<()> {
    client.set_nodelay(true)?;
    let mut reader = BufReader::new(client);
    while let Some(request) = wire::read(&mut reader)? {
        if shared.stopped.load(Ordering::SeqCst) {
            break;
        }
        let fate = shared.fate();
        let refusal = match fate {
            Fate::Refused => Some(Answer::error(503, "ServiceUnavailable")),
            Fate::Denied => Some(Answer::error(403, "AccessDenied")),
            _ => None,
        };
        if let Some(refusal) = refusal {
            wire::write(client, &request, refusal)?;
            continue;
        }
        let answer = answer(shared, &request);
        match fate {
            Fate::Lost => break,
            Fate::Halved => {
                wire::write_half(client, &request, answer)?;
                break;
            }
            _ => wire::write(client, &request, answer)?,
        }
    }
    // Else the client would wait for what never comes.
    let _ = client.shutdown(Shutdown::Both);
    Ok(())
}

fn answer(shared: &Shared, request: &Request) -> Answer {
    let (bucket, key) = request.path.split_once('/').unwrap_or((&request.path, ""));
    if bucket != BUCKET {
        return Answer::error(404, "NoSuchBucket");
    }
    shared.objects().answer(request, key)
}

#[cfg(test)]
mod tests;

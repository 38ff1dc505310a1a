//! A stand-in for Google Cloud Storage on a port of 127.0.0.1: what `object_store` sends of the XML interface, answered
//! from memory. It is ours, made from Google's description and the client's source, because no emulator takes the uploads
//! that this client makes. It shows that client and sink keep to that description, not how Google's servers behave.
//! It asks for no login.

mod objects;
mod wire;

use anyhow::{Context, Result};
use objects::Objects;
use std::io::BufReader;
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
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
    stopped: AtomicBool,
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

    /// What a Delta client needs to know, in the names that delta-rs and Polars use as well.
    pub fn options(&self) -> Vec<(String, String)> {
        let key = serde_json::json!({
            "gcs_base_url": format!("http://127.0.0.1:{}", self.port), "disable_oauth": true,
            "client_email": "", "private_key": "", "private_key_id": "",
        });
        vec![("google_service_account_key".to_owned(), key.to_string())]
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
        let answer = answer(shared, &request);
        wire::write(client, &request, answer)?;
    }
    Ok(())
}

fn answer(shared: &Shared, request: &Request) -> Answer {
    let (bucket, key) = request.path.split_once('/').unwrap_or((&request.path, ""));
    if bucket != BUCKET {
        return Answer::error(404, "NoSuchBucket");
    }
    shared.objects.lock().unwrap_or_else(PoisonError::into_inner).answer(request, key)
}

#[cfg(test)]
mod tests;

//! A TCP proxy that misbehaves on command: cuts, closes, stalls, delays and dribbles. Knows nothing of the protocols
//! that pass through it.

mod pump;

use crate::process;
use anyhow::{Context, Result};
use pump::{Link, Pump};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicU16, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// Which way bytes go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Direction {
    /// From the client to the server.
    ToServer,
    /// From the server to the client.
    ToClient,
}

/// What the pumps do with what passes.
#[derive(Debug, Default)]
struct Behaviour {
    stalled: bool,
    refusing: bool,
    stopped: bool,
    delay: Duration,
    split: Option<usize>,
    cut_after: Option<(Direction, u64)>,
    links: Vec<Arc<Link>>,
}

/// State that the proxy's owner, the accepting thread and all pumps share; it ends with the last of them.
#[derive(Debug, Default)]
struct Shared {
    /// The port that new connections are forwarded to.
    target: AtomicU16,
    behaviour: Mutex<Behaviour>,
    changed: Condvar,
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, Behaviour> {
        self.behaviour.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A running proxy to one server.
#[derive(Debug)]
pub struct Proxy {
    port: u16,
    shared: Arc<Shared>,
}

impl Proxy {
    /// Listens on a port of 127.0.0.1 and forwards to another.
    pub fn start(target: u16) -> Result<Proxy> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, process::free_port()?)).context("start the proxy")?;
        let port = listener.local_addr()?.port();
        let shared = Arc::new(Shared { target: target.into(), ..Shared::default() });
        let theirs = Arc::clone(&shared);
        std::thread::spawn(move || accept(&listener, &theirs));
        Ok(Proxy { port, shared })
    }

    /// The port to connect to, on 127.0.0.1.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// The port that it forwards to.
    pub fn target(&self) -> u16 {
        self.shared.target.load(Ordering::Relaxed)
    }

    /// Forwards to another port: the connections that lead to the old one end with a reset, as when an address moves to
    /// another machine.
    pub fn turn_to(&self, target: u16) {
        self.shared.target.store(target, Ordering::Relaxed);
        self.cut();
    }

    /// Ends every connection with a reset, as a firewall or a crashed machine does. New ones are served.
    pub fn cut(&self) {
        for link in std::mem::take(&mut self.shared.lock().links) {
            link.reset();
        }
        self.shared.changed.notify_all();
    }

    /// Ends every connection in order (FIN). New ones are served.
    pub fn close(&self) {
        for link in std::mem::take(&mut self.shared.lock().links) {
            link.close();
        }
        self.shared.changed.notify_all();
    }

    /// Forwards nothing from now on while all connections stay open and new ones are accepted: half-open.
    pub fn stall(&self) {
        self.change(|b| b.stalled = true);
    }

    /// Resets connections as soon as they are made.
    pub fn refuse(&self) {
        self.change(|b| b.refusing = true);
    }

    /// Back to plain forwarding: no stall, refusal, delay, dribble or planned cut. What was held back goes on.
    pub fn resume(&self) {
        self.change(|b| {
            (b.stalled, b.refusing, b.delay, b.split, b.cut_after) = (false, false, Duration::ZERO, None, None);
        });
    }

    /// Holds every piece back for so long.
    pub fn delay(&self, delay: Duration) {
        self.change(|b| b.delay = delay);
    }

    /// Forwards in pieces of so many bytes, each a packet of its own: 1 is a dribble.
    pub fn split(&self, bytes: usize) {
        self.change(|b| b.split = Some(bytes.max(1)));
    }

    /// Resets every connection after so many more bytes in one direction, all connections together. Then forwards on.
    pub fn cut_after(&self, direction: Direction, bytes: u64) {
        self.change(|b| b.cut_after = Some((direction, bytes)));
    }

    /// How many connections are open.
    pub fn connections(&self) -> usize {
        self.shared.lock().links.len()
    }

    fn change(&self, change: impl FnOnce(&mut Behaviour)) {
        change(&mut self.shared.lock());
        self.shared.changed.notify_all();
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.change(|b| b.stopped = true);
        self.cut();
        // The accepting thread looks at the flag when somebody comes.
        let _ = TcpStream::connect(SocketAddr::from((Ipv4Addr::LOCALHOST, self.port)));
    }
}

fn accept(listener: &TcpListener, shared: &Arc<Shared>) {
    for client in listener.incoming() {
        let (stopped, refusing) = {
            let behaviour = shared.lock();
            (behaviour.stopped, behaviour.refusing)
        };
        if stopped {
            return;
        }
        let Ok(client) = client else { continue };
        let target = shared.target.load(Ordering::Relaxed);
        let server = TcpStream::connect(SocketAddr::from((Ipv4Addr::LOCALHOST, target)));
        let link = server.and_then(|server| Link::new(client, server)).map(Arc::new);
        // A server that is down shows itself as a connection that ends at once.
        let Ok(link) = link else { continue };
        if refusing {
            link.reset();
            continue;
        }
        shared.lock().links.push(Arc::clone(&link));
        for direction in [Direction::ToServer, Direction::ToClient] {
            let pump = Pump { link: Arc::clone(&link), direction, shared: Arc::clone(shared) };
            std::thread::spawn(move || pump.run());
        }
    }
}

#[cfg(test)]
mod tests;

//! One connection through the proxy: two sockets, and a thread for each direction.

use super::{Direction, Shared};
use std::io::{ErrorKind, Read, Result, Write};
use std::net::{Shutdown, TcpStream};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, PoisonError};
use std::time::Duration;

/// The two sockets of a connection, shared by its two pumps and the proxy.
#[derive(Debug)]
pub(super) struct Link {
    client: TcpStream,
    server: TcpStream,
    /// Directions that have ended; the connection is over at two.
    ended: AtomicUsize,
}

impl Link {
    pub(super) fn new(client: TcpStream, server: TcpStream) -> Result<Link> {
        client.set_nodelay(true)?;
        server.set_nodelay(true)?;
        Ok(Link { client, server, ended: AtomicUsize::new(0) })
    }

    /// Sends RST both ways and wakes both pumps.
    pub(super) fn reset(&self) {
        for socket in [&self.client, &self.server] {
            // Dissolving the association is the one way to a reset while another thread reads from the socket.
            if rustix::net::connect_unspec(socket).is_err() {
                let _ = socket.shutdown(Shutdown::Both);
            }
        }
    }

    /// Sends FIN both ways and wakes both pumps.
    pub(super) fn close(&self) {
        for socket in [&self.client, &self.server] {
            let _ = socket.shutdown(Shutdown::Both);
        }
    }
}

/// What one thread does: forwards one direction until it ends.
pub(super) struct Pump {
    pub(super) link: Arc<Link>,
    pub(super) direction: Direction,
    pub(super) shared: Arc<Shared>,
}

impl Pump {
    pub(super) fn run(self) {
        let (from, to) = match self.direction {
            Direction::ToServer => (&self.link.client, &self.link.server),
            Direction::ToClient => (&self.link.server, &self.link.client),
        };
        let over = match self.forward(from, to) {
            // An orderly end is passed on; the other direction may go on for a while.
            Ok(()) => {
                let _ = to.shutdown(Shutdown::Write);
                self.link.ended.fetch_add(1, Ordering::Relaxed) > 0
            }
            // A link that was taken off the list has been ended by the proxy's owner, in the owner's way.
            Err(_) => {
                if self.is_open() {
                    self.link.reset();
                }
                true
            }
        };
        if over {
            self.shared.lock().links.retain(|link| !Arc::ptr_eq(link, &self.link));
        }
    }

    fn is_open(&self) -> bool {
        self.shared.lock().links.iter().any(|link| Arc::ptr_eq(link, &self.link))
    }

    fn forward(&self, mut from: &TcpStream, mut to: &TcpStream) -> Result<()> {
        let mut buffer = vec![0_u8; 64 * 1024];
        loop {
            let count = match from.read(&mut buffer) {
                Ok(0) => return self.wait_while_stalled().map(drop),
                Ok(count) => count,
                Err(error) if error.kind() == ErrorKind::Interrupted => continue,
                Err(error) => return Err(error),
            };
            let mut rest = buffer.get(..count).unwrap_or_default();
            while !rest.is_empty() {
                let (limit, cut) = self.pass(rest.len())?;
                let (piece, more) = rest.split_at_checked(limit).unwrap_or((rest, &[]));
                to.write_all(piece)?;
                if cut {
                    self.cut_all();
                    return Err(ErrorKind::ConnectionReset.into());
                }
                rest = more;
            }
        }
    }

    /// Waits for its turn; how many of `waiting` bytes may go now, and whether the connections are cut after them.
    fn pass(&self, waiting: usize) -> Result<(usize, bool)> {
        let (delay, split) = self.wait_while_stalled()?;
        if !delay.is_zero() {
            std::thread::sleep(delay);
        }
        let limit = split.unwrap_or(waiting).min(waiting);
        let mut behaviour = self.shared.lock();
        let Some((direction, left)) = behaviour.cut_after.filter(|(direction, _)| *direction == self.direction) else {
            return Ok((limit, false));
        };
        let allowed = usize::try_from(left).unwrap_or(usize::MAX);
        let limit = limit.min(allowed);
        let cut = limit == allowed;
        behaviour.cut_after = if cut { None } else { Some((direction, left.saturating_sub(limit as u64))) };
        Ok((limit, cut))
    }

    fn cut_all(&self) {
        let links = std::mem::take(&mut self.shared.lock().links);
        for link in links {
            link.reset();
        }
        self.shared.changed.notify_all();
    }

    fn wait_while_stalled(&self) -> Result<(Duration, Option<usize>)> {
        let mut behaviour = self.shared.lock();
        loop {
            let open = behaviour.links.iter().any(|link| Arc::ptr_eq(link, &self.link));
            if behaviour.stopped || !open {
                return Err(ErrorKind::ConnectionReset.into());
            }
            if !behaviour.stalled {
                return Ok((behaviour.delay, behaviour.split));
            }
            behaviour = self.shared.changed.wait(behaviour).unwrap_or_else(PoisonError::into_inner);
        }
    }
}

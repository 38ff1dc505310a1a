//! Named places at which a test may end the process as a power cut would, or let the step fail as its surroundings
//! would. Unarmed, a place costs one relaxed load. Arming comes from outside; this module reads no environment.

use crate::{Error, Result};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

static ARMED: AtomicBool = AtomicBool::new(false);
static PASSES_LEFT: AtomicU64 = AtomicU64::new(0);
static PLACE: OnceLock<(String, Act)> = OnceLock::new();

/// What happens at an armed place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Act {
    /// The process ends, without unwinding, flushing or cleaning up.
    End,
    /// The step fails and is to be tried again. Only a [`step`] can.
    Fail,
}

/// Arms one place for this process: it acts at its `pass`-th passage (from 1), once. The first call wins.
pub fn arm(name: &str, pass: u64, act: Act) {
    if PLACE.set((name.to_owned(), act)).is_ok() {
        PASSES_LEFT.store(pass.max(1), Ordering::Relaxed);
        ARMED.store(true, Ordering::Release);
    }
}

/// A named place at which nothing can fail; it can only be the last one of a process.
#[inline]
pub fn pass(name: &str) {
    if ARMED.load(Ordering::Relaxed) && is_due(name) == Some(Act::End) {
        end();
    }
}

/// A named place in a step that can fail.
///
/// # Errors
/// Of kind `Retry`, when the place is armed to fail.
#[inline]
pub fn step(name: &str) -> Result<()> {
    if ARMED.load(Ordering::Relaxed) { step_armed(name) } else { Ok(()) }
}

#[cold]
fn step_armed(name: &str) -> Result<()> {
    match is_due(name) {
        Some(Act::End) => end(),
        Some(Act::Fail) => Err(Error::retry("failpoint", format!("pass the place `{name}`, which is armed to fail"))),
        None => Ok(()),
    }
}

/// What an armed place does at this passage.
#[cold]
fn is_due(name: &str) -> Option<Act> {
    let (_, act) = PLACE.get().filter(|(armed, _)| armed == name)?;
    (PASSES_LEFT.fetch_sub(1, Ordering::AcqRel) == 1).then_some(*act)
}

fn end() -> ! {
    std::process::abort();
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ErrorKind;

    /// One place a process, so this is all of its test; that a process ends, the connectors' tests see.
    #[test]
    fn an_armed_step_fails_once_and_no_other() {
        assert!(step("here").is_ok());
        arm("here", 2, Act::Fail);
        arm("there", 1, Act::End);
        assert!(step("there").is_ok(), "the first call wins");
        assert!(step("here").is_ok(), "the first passage");
        assert_eq!(step("here").unwrap_err().kind(), ErrorKind::Retry);
        assert!((0..3).all(|_| step("here").is_ok()), "the later ones");
    }
}

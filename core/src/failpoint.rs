//! Named places at which a test may end the process as a power cut would. Unarmed, a place costs one
//! relaxed load. Arming comes from outside; this module reads no environment.

use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

static ARMED: AtomicBool = AtomicBool::new(false);
static PASSES_LEFT: AtomicU64 = AtomicU64::new(0);
static NAME: OnceLock<String> = OnceLock::new();

/// Arms one place for this process: the process ends at its `pass`-th passage (from 1). The first call
/// wins.
pub fn arm(name: &str, pass: u64) {
    if NAME.set(name.to_owned()).is_ok() {
        PASSES_LEFT.store(pass.max(1), Ordering::Relaxed);
        ARMED.store(true, Ordering::Release);
    }
}

/// A named place. Ends the process without unwinding, flushing or cleaning up if it is armed.
pub fn pass(name: &str) {
    if ARMED.load(Ordering::Relaxed) {
        pass_armed(name);
    }
}

#[cold]
fn pass_armed(name: &str) {
    if NAME.get().is_some_and(|armed| armed == name) && PASSES_LEFT.fetch_sub(1, Ordering::AcqRel) == 1 {
        std::process::abort();
    }
}

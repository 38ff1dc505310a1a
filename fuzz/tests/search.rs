//! The search itself: libFuzzer makes inputs for one target and keeps those that reach new places in our code. `cargo xtask
//! fuzz` builds it with our crates counted and starts it.
#![no_main]

use std::sync::LazyLock;
use tidewire_fuzz::{TARGET_VARIABLE, Target, target};

/// What this process searches. There is nobody above who could take an error, so a wrong name ends it.
static TARGET: LazyLock<Target> = LazyLock::new(|| {
    let name = std::env::var(TARGET_VARIABLE).unwrap_or_default();
    target(&name).unwrap_or_else(|| {
        eprintln!("{TARGET_VARIABLE} names no target: `{name}`");
        std::process::exit(2)
    })
});

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    (TARGET.read)(data);
});

//! The promises, each against real servers, one file a promise. Results are read back with readers that are
//! not ours; an unexpected WARN or ERROR line of the daemon fails the test.

mod rig;

mod crash;
mod first_flow;

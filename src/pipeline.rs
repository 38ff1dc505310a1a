//! The flow of one source: `ingest -> normalize -> route -> ship -> watermark`. Stages talk through
//! bounded channels of batches and know no connector.

pub(crate) mod clock;
pub(crate) mod ingest;
pub(crate) mod normalize;
pub(crate) mod pace;
pub(crate) mod route;
pub(crate) mod ship;
pub(crate) mod watermark;

#[cfg(test)]
mod tests;

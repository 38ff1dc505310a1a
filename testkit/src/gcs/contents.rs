//! What the stand-in for Google's store holds, without its interface: for whoever asks what is there, and for what an
//! operator does to a bucket.

use super::Shared;
use std::sync::Arc;

/// The objects of a store, as long as anybody has this.
#[derive(Clone, Debug)]
pub struct Contents {
    shared: Arc<Shared>,
}

impl Contents {
    pub(super) fn of(shared: Arc<Shared>) -> Contents {
        Contents { shared }
    }

    /// Names that begin so, sorted.
    pub fn names(&self, prefix: &str) -> Vec<String> {
        self.shared.objects().names(prefix)
    }

    /// An object's content.
    pub fn get(&self, key: &str) -> Option<Vec<u8>> {
        self.shared.objects().content(key).map(<[u8]>::to_vec)
    }

    /// Stores an object, instead of one of this name.
    pub fn put(&self, key: &str, content: Vec<u8>) {
        self.shared.objects().store(key, content);
    }

    /// Removes an object.
    pub fn take(&self, key: &str) -> Option<Vec<u8>> {
        self.shared.objects().take(key)
    }
}

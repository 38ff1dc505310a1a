//! The checkpoints that a listing of the log shows: ours, of one file each, and those that other writers split into several
//! (`V.checkpoint.P.N.parquet`, part P of N). A split one counts only when all its parts are there: they are written in no
//! order, and a writer may die among them.
//! <https://github.com/delta-io/delta/blob/master/PROTOCOL.md#multi-part-checkpoint>

use super::{name, version_of};
use crate::log::load;
use crate::store::Object;
use std::cmp::Reverse;
use std::collections::BTreeMap;

/// A part of a checkpoint, as its name tells.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Part {
    pub(crate) version: i64,
    /// From 1 on.
    number: u32,
    of: u32,
}

/// Whether a listed name is that of a part, and of which.
pub(crate) fn part_of(name: &str) -> Option<Part> {
    let (version, rest) = name.strip_suffix(".parquet")?.split_once(".checkpoint.")?;
    let (number, of) = rest.split_once('.')?;
    let count = |text: &str| {
        let is_one = text.len() == 10 && text.bytes().all(|digit| digit.is_ascii_digit());
        is_one.then(|| text.parse().ok())?
    };
    let part = Part { version: load::version_before(version, "")?, number: count(number)?, of: count(of)? };
    (1..=part.of).contains(&part.number).then_some(part)
}

/// A checkpoint whose files are all there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Listed {
    pub(crate) version: i64,
    /// How many there are of a split one.
    parts: Option<u32>,
}

impl Listed {
    /// The one file of a version.
    pub(crate) fn whole(version: i64) -> Listed {
        Listed { version, parts: None }
    }

    /// The names of its files in order, at least one.
    pub(crate) fn names(self) -> impl Iterator<Item = String> {
        (1..=self.parts.unwrap_or(1)).map(move |number| self.name_of(number))
    }

    /// The name of its first file.
    pub(crate) fn first(self) -> String {
        self.name_of(1)
    }

    fn name_of(self, number: u32) -> String {
        match self.parts {
            None => name(self.version),
            Some(of) => format!("_delta_log/{:020}.checkpoint.{number:010}.{of:010}.parquet", self.version),
        }
    }
}

/// The checkpoints of a listing whose files are all there, the one to begin with first.
pub(crate) fn listed(listing: &[Object]) -> Vec<Listed> {
    let whole = listing.iter().filter_map(|object| version_of(&object.name)).map(Listed::whole);
    let mut found: Vec<Listed> = whole.collect();
    let mut seen: BTreeMap<(i64, u32), u32> = BTreeMap::new();
    for part in listing.iter().filter_map(|object| part_of(&object.name)) {
        *seen.entry((part.version, part.of)).or_default() += 1;
    }
    let complete = seen.into_iter().filter(|((_, of), seen)| seen == of);
    found.extend(complete.map(|((version, of), _)| Listed { version, parts: Some(of) }));
    found.sort_unstable_by_key(|listed| (Reverse(listed.version), listed.parts));
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_parts_are_told_from_others() {
        let cases = [
            ("00000000000000000010.checkpoint.0000000001.0000000002.parquet", Some((10, 1, 2))),
            ("00000000000000000010.checkpoint.0000000002.0000000002.parquet", Some((10, 2, 2))),
            ("00000000000000000010.checkpoint.0000000003.0000000002.parquet", None),
            ("00000000000000000010.checkpoint.0000000000.0000000002.parquet", None),
            ("00000000000000000010.checkpoint.1.2.parquet", None),
            ("00000000000000000010.checkpoint.+000000001.0000000002.parquet", None),
            ("00000000000000000010.checkpoint.9999999999.9999999999.parquet", None),
            ("00000000000000000010.checkpoint.parquet", None),
            ("00000000000000000010.checkpoint.3a0d65cd-4056-49b8-937b-95f9e3ee90e5.parquet", None),
            ("99999999999999999999.checkpoint.0000000001.0000000002.parquet", None),
            ("10.checkpoint.0000000001.0000000002.parquet", None),
            ("00000000000000000010.json", None),
        ];
        for (name, expect) in cases {
            let part = part_of(name).map(|part| (part.version, part.number, part.of));
            assert_eq!(part, expect, "{name}");
        }
    }
}

//! Names of a table's files: as its log writes them, which is as a relative path of a URL, and as the store has them. The one
//! place that knows of the difference; everywhere else a file is called what the log calls it.
//! <https://github.com/delta-io/delta/blob/master/PROTOCOL.md#add-file-and-remove-file>
//!
//! A log may spell one file in several ways (`a%20b`, `a b`), so whoever asks whether two names mean the same file compares their
//! `canonical` forms.

use std::borrow::Cow;

/// What the store calls the file, or the folder, that a log calls `name`; the empty name is the table's own directory. `None` when
/// that is no name of anything inside the table: a log is written by others, too.
pub(crate) fn stored(name: &str) -> Option<Cow<'_, str>> {
    // A colon that is not encoded ends the scheme of an absolute address.
    if name.contains(':') {
        return None;
    }
    let stored = if name.contains('%') { Cow::Owned(decode(name)?) } else { Cow::Borrowed(name) };
    // Encoded dots and slashes lead as far as others.
    let is_within = stored.is_empty() || stored.split('/').all(|segment| !matches!(segment, "" | "." | ".."));
    // No writer gives such names, and buckets refuse them.
    let is_text = !stored.contains(|c: char| c.is_ascii_control());
    (is_within && is_text).then_some(stored)
}

/// What the log is to call the file that the store calls `stored`.
pub(crate) fn logged(stored: &str) -> String {
    percent_encode(stored, is_kept)
}

/// What a listing is to call the file that the store calls `stored`; `None` for one that no log can name.
pub(super) fn listed(stored: &str) -> Option<String> {
    let name = logged(stored);
    self::stored(&name).is_some().then_some(name)
}

/// The one spelling of all that mean the same file, which is that of `logged`; `None` when it is none inside the table.
pub(crate) fn canonical(name: &str) -> Option<Cow<'_, str>> {
    let stored = stored(name)?;
    Some(if stored.bytes().all(is_kept) { stored } else { logged(&stored).into() })
}

/// A text as a part of a file's name in the store, where nothing in it may mean anything. This is how delta-rs writes a
/// partition's value, and how all readers take it.
pub(crate) fn segment_of(text: &str) -> String {
    percent_encode(text, is_plain)
}

/// The length of `segment_of`, in bytes.
pub(crate) fn segment_bytes(text: &str) -> usize {
    text.bytes().map(|byte| if is_plain(byte) { 1 } else { 3 }).sum()
}

/// Whether a byte stands for itself in every spelling.
pub(crate) fn is_plain(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.')
}

fn is_kept(byte: u8) -> bool {
    is_plain(byte) || matches!(byte, b'=' | b'/')
}

fn percent_encode(text: &str, is_kept: fn(u8) -> bool) -> String {
    let mut out = String::with_capacity(text.len());
    for byte in text.bytes() {
        match is_kept(byte) {
            true => out.push(char::from(byte)),
            false => out.push_str(&format!("%{byte:02X}")),
        }
    }
    out
}

/// `None` where a `%` begins no byte, or the bytes are no UTF-8: readers differ on such a name.
fn decode(name: &str) -> Option<String> {
    let mut out = Vec::with_capacity(name.len());
    let mut pieces = name.split('%');
    out.extend_from_slice(pieces.next()?.as_bytes());
    for piece in pieces {
        let (digits, rest) = piece.split_at_checked(2)?;
        // `from_str_radix` would take a sign.
        if !digits.bytes().all(|digit| digit.is_ascii_hexdigit()) {
            return None;
        }
        out.push(u8::from_str_radix(digits, 16).ok()?);
        out.extend_from_slice(rest.as_bytes());
    }
    String::from_utf8(out).ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn names_of_logs_are_decoded_once() {
        for (name, expect) in [
            ("", ""),
            ("part-1.parquet", "part-1.parquet"),
            ("c=New%20York/part", "c=New York/part"),
            ("c=New%2520York/part", "c=New%20York/part"),
            ("c=%e6%97%A5/part", "c=日/part"),
            ("c=日/a b+c", "c=日/a b+c"),
            ("c=a%3Ab", "c=a:b"),
            ("c=..", "c=.."),
        ] {
            assert_eq!(stored(name).as_deref(), Some(expect), "{name}");
        }
    }

    #[test]
    fn a_name_that_leaves_the_table_is_none() {
        for name in [
            "..",
            "../a",
            "a/../b",
            "a/..",
            ".",
            "./a",
            "a//b",
            "a/",
            "/",
            "/etc/passwd",
            "file:///a",
            "s3://b/a",
            "%2e%2E/a",
            "a%2F..%2f..%2Fb",
            "%2Fetc",
            "a%2F%2Fb",
            "a%00b",
            "a%0Ab",
            "a\nb",
            "%",
            "a%",
            "a%2",
            "a%zz",
            "a%+1",
            "%é",
            "%E9",
            "%C3(",
        ] {
            assert_eq!((stored(name), canonical(name)), (None, None), "{name}");
        }
        assert_eq!(listed("a\nb"), None);
    }

    #[test]
    fn spellings_of_one_file_are_one() {
        for (name, expect) in [
            ("c=a b/d", "c=a%20b/d"),
            ("c=a%20b/d", "c=a%20b/d"),
            ("%63%3da%20b%2fd", "c=a%20b/d"),
            ("c=a%2520b/d", "c=a%2520b/d"),
            ("é~", "%C3%A9%7E"),
        ] {
            assert_eq!(canonical(name).as_deref(), Some(expect), "{name}");
        }
    }

    proptest! {
        #[test]
        fn names_come_back_as_they_went(segments in proptest::collection::vec("\\PC+", 1..4)) {
            let path = segments.join("/");
            let name = logged(&path);
            if let Some(stored) = stored(&name) {
                prop_assert_eq!(&stored, &path);
                prop_assert!(canonical(&name).is_some_and(|one| one == name));
                prop_assert_eq!(listed(&path), Some(name.clone()));
            }
        }

        #[test]
        fn any_text_is_one_segment(text in any::<String>()) {
            let segment = segment_of(&text);
            prop_assert_eq!(segment.len(), segment_bytes(&text));
            prop_assert!(segment.bytes().all(|byte| is_plain(byte) || byte == b'%'));
            prop_assert_eq!(decode(&segment), Some(text));
        }
    }
}

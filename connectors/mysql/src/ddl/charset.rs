//! Character sets and collations by name, as far as statements need them: canonical names, what a collation implies, what
//! is the default, and how wide characters are. How bytes become text is `crate::charset`'s affair.
//!
//! Sources: MySQL manual, "Supported Character Sets and Collations"; MariaDB's, "Supported Character Sets and Collations",
//! "character_set_collations"; `SHOW CHARACTER SET` of both.

use super::{CharsetSpec, Context};
use crate::model::{Charset, Flavour};
use std::sync::Arc;

/// A character set's name in lower case, `utf8` by the name that newer servers give it, `utf8mb3`.
pub(crate) fn canonical_charset(name: &str) -> Arc<str> {
    let name = name.to_ascii_lowercase();
    Arc::from(if name == "utf8" { "utf8mb3" } else { name.as_str() })
}

/// A collation's name in lower case, `utf8_` by its newer name `utf8mb3_`.
pub(crate) fn canonical_collation(name: &str) -> Arc<str> {
    let name = name.to_ascii_lowercase();
    match name.strip_prefix("utf8_") {
        Some(rest) => Arc::from(format!("utf8mb3_{rest}")),
        None => Arc::from(name),
    }
}

/// The character set of a canonical collation's name: what is before its first `_`. `None` for MariaDB's collations that fit
/// several sets (`uca1400_ai_ci`), which take that of their surroundings.
pub(super) fn charset_of_collation_name(collation: &str) -> Option<&str> {
    match collation.split('_').next() {
        Some("uca1400") | None => None,
        Some(charset) => Some(charset),
    }
}

/// The collation that a character set has when none is said; empty if the set is not known.
pub(super) fn default_collation(charset: &str, flavour: Flavour, server_version: u32) -> Arc<str> {
    // MariaDB 11.5: default of `character_set_collations`. MySQL 8.0.1: `utf8mb4` alone.
    let modern = match flavour {
        Flavour::MariaDb => server_version >= 110_500,
        Flavour::MySql => server_version >= 80_001,
    };
    let suffix = match charset {
        "binary" => return Arc::from("binary"),
        "utf8mb3" | "utf8mb4" | "ucs2" | "utf16" | "utf32" if modern && flavour == Flavour::MariaDb => "uca1400_ai_ci",
        "utf8mb4" if modern => "0900_ai_ci",
        "big5" | "gb2312" | "gbk" | "gb18030" => "chinese_ci",
        "dec8" | "latin1" | "swe7" => "swedish_ci",
        "hp8" => "english_ci",
        "ujis" | "sjis" | "cp932" | "eucjpms" => "japanese_ci",
        "tis620" => "thai_ci",
        "euckr" => "korean_ci",
        "latin5" => "turkish_ci",
        _ if character_width(charset).is_some() => "general_ci",
        _ => return Arc::from(""),
    };
    Arc::from(format!("{charset}_{suffix}"))
}

/// The most bytes of a character (`Maxlen` of `SHOW CHARACTER SET`).
pub(super) fn character_width(charset: &str) -> Option<u64> {
    Some(match charset {
        "utf8mb4" | "utf16" | "utf16le" | "utf32" | "gb18030" => 4,
        "utf8mb3" | "ujis" | "eucjpms" => 3,
        "ucs2" | "big5" | "gbk" | "gb2312" | "sjis" | "cp932" | "euckr" => 2,
        "ascii" | "latin1" | "latin2" | "latin5" | "latin7" | "cp850" | "cp852" | "cp866" | "cp1250" | "cp1251"
        | "cp1256" | "cp1257" | "koi8r" | "koi8u" | "greek" | "hebrew" | "tis620" | "armscii8" | "geostd8" | "dec8"
        | "hp8" | "swe7" | "keybcs2" | "macce" | "macroman" | "binary" => 1,
        _ => return None,
    })
}

impl CharsetSpec {
    /// Whether anything is said.
    pub(super) fn is_said(&self) -> bool {
        self.name.is_some() || self.collation.is_some() || self.reset
    }

    /// What is said, on top of what the level above has.
    pub(super) fn resolve(&self, above: &Charset, context: &Context<'_>) -> Charset {
        let implied = self.collation.as_deref().and_then(charset_of_collation_name);
        let name: Arc<str> = match (&self.name, implied) {
            (Some(name), _) => Arc::clone(name),
            (None, Some(name)) if !self.reset => Arc::from(name),
            (None, _) => Arc::clone(&above.name),
        };
        let collation: Arc<str> = match &self.collation {
            Some(collation) if charset_of_collation_name(collation).is_none() => {
                Arc::from(format!("{name}_{collation}"))
            }
            Some(collation) => Arc::clone(collation),
            None if self.binary => bin_collation(&name),
            // MariaDB's `CHARACTER SET DEFAULT` takes the set, yet not the collation in newer versions.
            None if self.reset && context.flavour == Flavour::MariaDb => Arc::from(""),
            None if self.name.is_none() => Arc::clone(&above.collation),
            None => default_collation(&name, context.flavour, context.server_version),
        };
        Charset { name, collation }
    }
}

fn bin_collation(charset: &str) -> Arc<str> {
    Arc::from(if charset == "binary" { "binary".to_owned() } else { format!("{charset}_bin") })
}

//! How data files are compressed, and what their names say of it. Knows no file.

use parquet::basic::{Compression as Codec, ZstdLevel};

/// The codec of new data files. Each file tells its own, so a table may have files of several.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Compression {
    /// The smallest files.
    #[default]
    Zstd,
    /// The oldest codec of the format.
    Snappy,
    /// Parquet's `LZ4_RAW`: blocks without a frame. The older `LZ4` has one that each writer makes in its own way.
    Lz4,
}

impl Compression {
    #[cfg(test)]
    pub(crate) const ALL: [Compression; 3] = [Compression::Zstd, Compression::Snappy, Compression::Lz4];

    /// As the configuration writes it, `zstd` when it does not.
    pub(crate) fn of(word: Option<&str>, fault: &mut impl FnMut(&str, String)) -> Compression {
        match word {
            None | Some("zstd") => Compression::Zstd,
            Some("snappy") => Compression::Snappy,
            Some("lz4") => Compression::Lz4,
            Some(other) => {
                fault("compression", format!("`{other}` is no codec here: use `zstd`, `snappy` or `lz4`"));
                Compression::default()
            }
        }
    }

    /// As it stands in the name of a file. It is for people: readers go by the file's metadata.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Compression::Zstd => "zstd",
            Compression::Snappy => "snappy",
            Compression::Lz4 => "lz4",
        }
    }

    /// What the file's metadata says.
    pub(crate) fn codec(self) -> Codec {
        match self {
            // Higher levels cost the writer more than they save.
            Compression::Zstd => Codec::ZSTD(ZstdLevel::try_new(1).unwrap_or_default()),
            Compression::Snappy => Codec::SNAPPY,
            Compression::Lz4 => Codec::LZ4_RAW,
        }
    }
}

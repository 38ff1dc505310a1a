//! How data files are compressed, and what their names say of it. Knows no file.

use parquet::basic::{Compression as Codec, ZstdLevel};
use url::Url;

/// A commit with fewer bytes of new rows, before compression, is a small one.
const SMALL_BYTES: usize = 1 << 20;

/// The codec of new data files. Each file tells its own, so a table may have files of several.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Compression {
    /// `Snappy`, but for small commits none: their files are soon merged into others, and what compressing saves of a sync is
    /// less than it takes.
    #[default]
    Fast,
    /// The smallest files.
    Zstd,
    /// The oldest codec of the format, and the default of most writers.
    Snappy,
    /// Parquet's `LZ4_RAW`: blocks without a frame. The older `LZ4` has one that each writer makes in its own way.
    Lz4,
    /// As encoded: of small commits alone. Its columns have no dictionaries, as one without a value would have no bytes, which not
    /// every reader knows to ask for.
    None,
}

impl Compression {
    #[cfg(test)]
    pub(crate) const ALL: [Compression; 4] =
        [Compression::Zstd, Compression::Snappy, Compression::Lz4, Compression::Fast];

    /// As the configuration writes it; when it does not, as it is best at the location.
    pub(crate) fn of(word: Option<&str>, location: Option<&Url>, fault: &mut impl FnMut(&str, String)) -> Compression {
        match word {
            None => location.map(Compression::best_at).unwrap_or_default(),
            Some("zstd") => Compression::Zstd,
            Some("snappy") => Compression::Snappy,
            Some("lz4") => Compression::Lz4,
            Some(other) => {
                fault("compression", format!("`{other}` is no codec here: use `zstd`, `snappy` or `lz4`"));
                Compression::default()
            }
        }
    }

    /// From a bucket readers wait for bytes, and each is paid for; on a disk they wait for the decompression.
    fn best_at(location: &Url) -> Compression {
        if location.scheme() == "file" { Compression::Fast } else { Compression::Zstd }
    }

    /// That of a file which a commit begins with so many bytes of rows.
    pub(crate) fn of_commit(self, bytes: usize) -> Compression {
        match self {
            Compression::Fast if bytes < SMALL_BYTES => Compression::None,
            other => other,
        }
    }

    /// How the name of a file ends. It is for people: readers go by the file's metadata.
    pub(crate) fn suffix(self) -> &'static str {
        match self {
            Compression::Zstd => ".zstd.parquet",
            Compression::Fast | Compression::Snappy => ".snappy.parquet",
            Compression::Lz4 => ".lz4.parquet",
            Compression::None => ".parquet",
        }
    }

    /// What the file's metadata says.
    pub(crate) fn codec(self) -> Codec {
        match self {
            // Higher levels cost the writer more than they save.
            Compression::Zstd => Codec::ZSTD(ZstdLevel::try_new(1).unwrap_or_default()),
            Compression::Fast | Compression::Snappy => Codec::SNAPPY,
            Compression::Lz4 => Codec::LZ4_RAW,
            Compression::None => Codec::UNCOMPRESSED,
        }
    }
}

//! Delta Kernel for Java, the reader that engines on the JVM build on, with what it needs to read local files.

use super::maven::Jars;
use super::need;
use anyhow::Result;
use std::path::PathBuf;

const JARS: Jars = Jars {
    name: "delta-kernel-4.4.0",
    what: "Delta Kernel 4.4.0",
    dependencies: &[
        ("io.delta", "delta-kernel-api", "4.4.0"),
        ("io.delta", "delta-kernel-defaults", "4.4.0"),
        ("org.apache.hadoop", "hadoop-client-api", "3.4.2"),
        ("org.apache.hadoop", "hadoop-client-runtime", "3.4.2"),
    ],
    pinned: &PINNED,
};

/// Every jar of the closure and its SHA-256.
const PINNED: [(&str, &str); 31] = [
    ("RoaringBitmap-0.9.25.jar", "73f8e24f636a1ba6509decacbb5605c833eb5ead6db3971722ffcc2543b3e393"),
    ("aircompressor-2.0.2.jar", "0c2a96bf86d5fb24ff7f20c92483c61391cb10d440a4bd278c77365a2b165698"),
    ("commons-logging-1.3.0.jar", "66d3c980470b99b0c511dad3dfc0ae7b265ec1fb144e96bc0253a8a175fd34d9"),
    ("commons-pool-1.6.jar", "46c42b4a38dc6b2db53a9ee5c92c63db103665d56694e2cfce2c95d51a6860cc"),
    ("delta-kernel-api-4.4.0.jar", "ee9b5a14ac3b7efdff4d61a58478fe8eb0e5a3fbca43889dca7290795fe79a11"),
    ("delta-kernel-defaults-4.4.0.jar", "225c975199e4718b38ee5b7e6da7f19e9585024262b2cec2656b32151a856b0b"),
    ("delta-storage-4.4.0.jar", "c46735481fa8e326b0957be02b4420cbcab4b325bb08009b7f2045a95133f1cc"),
    ("hadoop-client-api-3.4.2.jar", "607c0299f4df33013bd0a0f37c8cf255c635bbaddd247b8fec68c210cc17d19f"),
    ("hadoop-client-runtime-3.4.2.jar", "18d071c7f72f8a946677b398a57af9c7afa2dd41a81023c310f99373fec200b3"),
    ("jackson-annotations-2.13.5.jar", "80aea8ed7232db5040ced4b3f982f29da95bb3d802343dbf6fd82ccd98c21c4f"),
    ("jackson-core-2.13.5.jar", "48f36a025311d0464ad8dda4512a20c79e279a9550f63f3179d731d94482474b"),
    ("jackson-databind-2.13.5.jar", "5fedb24b2356491815d18267f65da9a21dd67413345ad7795f221afa25c78984"),
    ("jackson-datatype-jdk8-2.13.5.jar", "e58761751fea8a00dc626aae1c5f1be38c5cfd487aeb333d933a4ab5f5a73c55"),
    ("javax.annotation-api-1.3.2.jar", "e04ba5195bcd555dc95650f7cc614d151e4bcd52d29a10b8aa2197f3ab89ab9b"),
    ("jsr305-3.0.2.jar", "766ad2a0783f2687962c8ad74ceecc38a28b9f72a2d085ee438b7813e928d0c7"),
    ("jts-core-1.20.0.jar", "6a783d8f9dba3d3cf7265435f134402f63c05838aa6cbcc4297ad3a5b2842baf"),
    ("log4j-api-2.25.3.jar", "e886682920fa0fb9d6eb6395dcb4de088443f8646c89c5e5846e168e327f406f"),
    ("log4j-core-2.25.3.jar", "362b7fcb65b73aa46cc4bc53abf4eb216f444a83b5d1a037cb6fdfff0ae9f0f9"),
    ("log4j-slf4j2-impl-2.25.3.jar", "bedc560168f4005d09452e6b6959b252f9efa2eb8cbd17c6660c36eecec7238b"),
    ("parquet-column-1.16.0.jar", "034ec38dc4c58a0677bdaed666c9a7a8c68c269cce0d61dce4b7b49f7a0b9d7e"),
    ("parquet-common-1.16.0.jar", "7c7d120b83c923f9f5044e53518e6e8cc26d7993b89051b2a9979c3afdbc7811"),
    ("parquet-encoding-1.16.0.jar", "da7b8f3a458871e70de6f883539a39d8dc9e8ec67312d3b95ea1dbca4b68f5b3"),
    ("parquet-format-structures-1.16.0.jar", "aae70622e2ab2f6a6678d03054a8bf94731ecea98025dedbea6c7a6defbc9ee0"),
    ("parquet-hadoop-1.16.0.jar", "06d9ecec624434c21680d736833aa4873655438dda9e64ccbeec1772d52cdfd5"),
    ("parquet-jackson-1.16.0.jar", "12e8fbc43d989fc26336c2649b7cfcc82f5ee82b808258b6f79c24320aee001f"),
    ("shims-0.9.25.jar", "0b82ed6cb1caf0706304b42358d568eb6faf190eadea7f2b2d365cb63156b40d"),
    ("slf4j-api-1.7.36.jar", "d3ef575e3e4979678dc01bf1dcce51021493b4d11fb7f1be8ad982877c16a1c0"),
    ("snappy-java-1.1.10.4.jar", "55b30c94e5c4cc2d4b6976916098d0678a8a6cc7427fa8c875621bd94e731ac8"),
    ("unitycatalog-client-0.6.0.jar", "48257499a86b801a3e2372cec55ac226ca1c1c7eabe5c118e7302f29a1fdbc19"),
    ("unitycatalog-hadoop-0.6.0.jar", "c47b63c961c87102b9e1d63809a0915ba4c86b7652f57c8d39ca3a05b441a150"),
    ("zstd-jni-1.5.7-3.jar", "a38a4a97f1b43b878c91e0dd7f1e3d17f0e70beec71d95bacaf56a2f207624a3"),
];

/// The folder of its jars, fetched when it is not in the cache.
pub fn jars() -> Result<PathBuf> {
    need("javac", "a Java 17 development kit")?;
    JARS.fetch()
}

//! Names of the metrics of this sink and the handles to them. Knows no topic and no row.

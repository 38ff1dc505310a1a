//! Maps what librdkafka reports to the error that crosses the crate border.

//! What our own profile does where Debezium loses a value.

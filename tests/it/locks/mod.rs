//! The locking core against a real Redis.

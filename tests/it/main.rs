//! The integration tests, in one binary: see `support`, then a folder for each folder of `src`.

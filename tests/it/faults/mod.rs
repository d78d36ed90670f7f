//! What is survived: each fault of the failure table in `docs/ARCHITECTURE.md`, for real.

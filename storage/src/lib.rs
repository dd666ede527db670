//! What is on disk and what is true after a crash.

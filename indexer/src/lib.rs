//! From sources to commits.

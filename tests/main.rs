//! The whole of Pictor from outside: one binary, so that it links once.
//!
//! Where to add a test:
//! - `bench`: what the measuring commands print; never how fast
//! - `layers`: who may depend on whom, read from the manifests
//! - `journey`: the commands as a user runs them, from photographs to ranked results
//! - `mistakes`: what a user gets wrong, and what the error says
//! - `exchange`: vectors from elsewhere and to elsewhere; an index that is damaged, verified and repaired
//! - `reindex`: from one model to another, and back
//! - `eval`: datasets, reports, baselines, and figures beyond retrieval
//! - `rerank`: the order of a second model, its cache and its limits
//! - `crash`: a process killed in the middle of its work
//! - `models`: models installed from a hub, which `hub_server` plays; and removed, and verified
//! - `serve`: the service as a program sees it
//! - `documents`: links in the documents lead somewhere
//! - `quality`: figures on real photographs; says so when the photographs are absent
//!
//! What concerns one crate is tested in that crate.

mod hub_server;
mod support;

mod bench;
mod crash;
mod documents;
mod eval;
mod exchange;
mod journey;
mod layers;
mod mistakes;
mod models;
mod quality;
mod reindex;
mod rerank;
mod serve;

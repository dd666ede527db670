//! One file per subcommand; each has `run(args, output)`.

pub mod bench;
pub mod compact;
pub mod doctor;
pub mod embed;
pub mod eval;
pub mod export;
pub mod import;
pub mod index;
pub mod inspect;
pub mod model;
pub mod reindex;
pub mod repair;
pub mod search;
pub mod serve;
pub mod verify;

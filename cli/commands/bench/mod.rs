//! Speed on this machine: one file or folder per subcommand of `pictor bench`, each with `run(args, output)`.

pub mod ann;
pub mod encode;

//! What `pictor search` and `pictor serve` have in common about reranking.

use std::path::PathBuf;

use clap::Args;

/// What reranks, and where it keeps what it sees.
#[derive(Debug, Args)]
pub struct RerankArgs {
    /// The model whose matcher reranks, by name or by folder; by default the one the index was made with.
    #[arg(long, value_name = "NAME|DIR")]
    pub matcher: Option<String>,

    /// Folder for the matcher's features of images, so that each image is looked at once; by default `features` in the index. One
    /// process at a time has it.
    #[arg(long, value_name = "DIR")]
    pub rerank_cache: Option<PathBuf>,

    /// Most that is kept there: bytes, or with K, M or G (times 1024) behind the number; 0 keeps nothing. What was not used for longest
    /// goes first. 1G unless it says otherwise.
    #[arg(long, value_name = "BYTES", value_parser = pictor_core::parse_size)]
    pub rerank_cache_size: Option<u64>,
}

impl RerankArgs {
    /// Whether anything was said about reranking.
    pub fn given(&self) -> bool {
        self.matcher.is_some() || self.rerank_cache.is_some() || self.rerank_cache_size.is_some()
    }
}

//! Every layout that a dataset comes in, by small fixtures, and the damage that files come with.

mod files;
mod judgements;
mod shards;

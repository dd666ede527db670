//! The only home of HTTP, wire types and tokio.

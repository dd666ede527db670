//! The server as its clients meet it: over HTTP (`http`), and as a page in a real browser (`page`).
//!
//! One binary, because each would link the storage engines once more. The index is made of [`pictor_core::testing`]'s hash
//! encoder, for which an "image" is any bytes and a text finds the image whose bytes it is; the files start with `BM`, so that
//! they also count as BMP when they are served.

mod http;
mod page;
mod server;
mod webdriver;

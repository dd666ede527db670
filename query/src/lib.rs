//! From a request to ranked hits; synchronous; knows no HTTP.

//! Nearest neighbours over immutable rows: flat, HNSW, FAISS.

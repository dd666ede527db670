//! Image bytes or text in, unit vectors out.

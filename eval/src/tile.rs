//! The arithmetic of exact search: small tiles of the queries × items matrix.
//!
//! Rows are laid out in panels, component-major, so that the kernel reads its rows' components side by side and keeps all sums
//! in registers. What must stay true: each pair's products are added in the order of the components, whatever its place in a
//! tile.

use pictor_core::EmbeddingBatch;

/// Queries in a tile. 4 × 16 accumulators of f32 fill half of the sixteen 256-bit registers, enough to keep two FMA units
/// busy (8 chains for 4 cycles of latency × 2).
pub(crate) const QUERIES: usize = 4;
/// Items in a tile: two 256-bit vectors.
pub(crate) const ITEMS: usize = 16;

/// A tile of scores: query × item.
pub(crate) type Tile = [[f32; ITEMS]; QUERIES];
/// Makes a tile of a panel of queries and a panel of items.
pub(crate) type Kernel = fn(&[[f32; QUERIES]], &[[f32; ITEMS]]) -> Tile;

/// Rows in groups of `W`, component-major within a group: component `d` of `W` rows side by side. The last group is padded
/// with zeros.
pub(crate) struct Panels<const W: usize> {
    dim: usize,
    data: Vec<[f32; W]>,
}

impl<const W: usize> Panels<W> {
    /// The rows of `batch` that `rows` names, in its order. Rows past the end are zeros.
    pub fn pack(batch: &EmbeddingBatch, rows: impl ExactSizeIterator<Item = u32>) -> Self {
        let dim = batch.dim();
        let mut data = vec![[0.0; W]; rows.len().div_ceil(W) * dim];
        for (i, row) in rows.enumerate() {
            let panel = &mut data[i / W * dim..][..dim];
            for (components, &x) in panel.iter_mut().zip(batch.row(row as usize).unwrap_or_default()) {
                components[i % W] = x;
            }
        }
        Self { dim, data }
    }

    /// Panel `i`, of the rows from `i * W` on.
    pub fn panel(&self, i: usize) -> &[[f32; W]] {
        &self.data[i * self.dim..][..self.dim]
    }

    /// All panels in order.
    pub fn iter(&self) -> impl Iterator<Item = &[[f32; W]]> {
        self.data.chunks_exact(self.dim)
    }
}

/// Inner products of a panel of queries with a panel of items, each summed component by component from the first.
#[inline(always)]
fn tile<const FMA: bool>(queries: &[[f32; QUERIES]], items: &[[f32; ITEMS]]) -> Tile {
    let mut sums = [[0.0; ITEMS]; QUERIES];
    for (query, item) in queries.iter().zip(items) {
        for (sums, &x) in sums.iter_mut().zip(query) {
            for (sum, &y) in sums.iter_mut().zip(item) {
                // Without FMA hardware `mul_add` is a library call, a hundred times slower.
                *sum = if FMA { x.mul_add(y, *sum) } else { *sum + x * y };
            }
        }
    }
    sums
}

/// The fastest kernel of this CPU, the same at each call, so that all scores of an evaluation are rounded alike.
pub(crate) fn kernel() -> Kernel {
    #[cfg(target_arch = "x86_64")]
    {
        #[target_feature(enable = "avx2,fma")]
        fn avx2(queries: &[[f32; QUERIES]], items: &[[f32; ITEMS]]) -> Tile {
            tile::<true>(queries, items)
        }
        if is_x86_feature_detected!("avx2") && is_x86_feature_detected!("fma") {
            // SAFETY: the features that `avx2` is compiled for were detected on the line above, and do not go away.
            return |queries, items| unsafe { avx2(queries, items) };
        }
    }
    tile::<false>
}

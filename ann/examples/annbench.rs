use pictor_ann::*;
use std::time::Instant;
struct R(u64);
impl R {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let z = self.0;
        let z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }
    fn normal(&mut self) -> f32 {
        let s: f32 = (0..4).map(|_| (self.next() >> 40) as f32 / (1 << 24) as f32).sum();
        (s - 2.0) * 3f32.sqrt()
    }
    fn unit(&mut self, dim: usize, c: &[f32], sp: f32) -> Vec<f32> {
        let r: Vec<f32> = (0..dim).map(|i| c.get(i).unwrap_or(&0.0) + sp * self.normal()).collect();
        let n = r.iter().map(|x| x * x).sum::<f32>().sqrt();
        r.into_iter().map(|x| x / n).collect()
    }
}
fn cpu(_: bool) -> f64 {
    std::fs::read_dir("/proc/self/task")
        .unwrap()
        .filter_map(|d| std::fs::read_to_string(d.unwrap().path().join("schedstat")).ok())
        .map(|s| s.split(" ").next().unwrap().parse::<f64>().unwrap())
        .sum::<f64>()
        * 1e-9
}
fn main() {
    let a: Vec<String> = std::env::args().collect();
    let n: usize = a[1].parse().unwrap();
    let dim: usize = a[2].parse().unwrap();
    // low intrinsic dimension: centres + gaussian in 32-d subspace rotated by random projection
    let mut r = R(1);
    let latent = 32;
    let proj: Vec<f32> = (0..latent * dim).map(|_| r.normal()).collect();
    let centres: Vec<Vec<f32>> = (0..n.isqrt()).map(|_| r.unit(latent, &[], 1.0)).collect();
    let mut draw = || {
        let c = r.next() as usize % centres.len();
        let z = r.unit(latent, &centres[c], 0.8 / (latent as f32).sqrt());
        let mut v = vec![0f32; dim];
        for (i, zi) in z.iter().enumerate() {
            for d in 0..dim {
                v[d] += zi * proj[i * dim + d];
            }
        }
        for x in &mut v {
            *x += 0.3 * r.normal();
        }
        let m = v.iter().map(|x| x * x).sum::<f32>().sqrt();
        v.iter_mut().for_each(|x| *x /= m);
        v
    };
    let queries: Vec<Vec<f32>> = (0..300).map(|_| draw()).collect();
    let rows = Rows::from_vec(dim, (0..n).flat_map(|_| draw()).collect()).unwrap();
    let path = std::env::temp_dir().join(format!("annbench-{}", std::process::id()));
    // single-threaded rayon for search cost
    let one = rayon_one();
    let flat = open(&IndexKind::Flat, rows.clone(), &path).unwrap();
    let exact: Vec<Vec<Neighbor>> =
        queries.iter().map(|q| flat.search(q, 10, &SearchOptions::default()).unwrap()).collect();
    for k in &a[3..] {
        let (text, eff) = match k.split_once('@') {
            Some((t, e)) => (t, Some(e.parse().unwrap())),
            None => (k.as_str(), None),
        };
        let kind: IndexKind = text.parse().unwrap();
        let (w, c) = (Instant::now(), cpu(true));
        if let Err(e) = build(&kind, &rows, &path) {
            println!("{text}: {e}");
            continue;
        }
        let (bw, bc) = (w.elapsed().as_secs_f64(), cpu(true) - c);
        let size = std::fs::metadata(&path).map(|m| m.len()).unwrap_or(0);
        let w = Instant::now();
        let ix = open(&kind, rows.clone(), &path).unwrap();
        let ow = w.elapsed().as_secs_f64();
        let opts = SearchOptions { effort: eff, allow: None };
        let mut hit = 0;
        for (q, e) in queries.iter().zip(&exact) {
            let f = ix.search(q, 10, &opts).unwrap();
            hit += e.iter().filter(|x| f.iter().any(|y| y.row == x.row)).count();
        }
        let reps = if n > 50000 { 1 } else { 5 };
        let c = cpu(true);
        for _ in 0..reps {
            for q in &queries {
                std::hint::black_box(ix.search(q, 10, &opts).unwrap());
            }
        }
        let s = (cpu(true) - c) / (reps * queries.len()) as f64;
        println!(
            "{k:28} build {bw:8.2}s wall {bc:8.2}s cpu  {:8.1} MB open {:7.1} ms  search {:8.1} us cpu  {:8.0} qps  recall@10 {:.4}",
            size as f64 / 1e6,
            ow * 1e3,
            s * 1e6,
            1.0 / s,
            hit as f64 / (10 * queries.len()) as f64
        );
        let _ = std::fs::remove_file(&path);
    }
    let _ = one;
}
fn rayon_one() {}

//! Scratch.
use pictor_core::testing::HashEncoder;
use pictor_core::*;
use pictor_storage::*;
use std::time::Instant;
fn main() {
    let args: Vec<String> = std::env::args().collect();
    let dir = std::path::Path::new(&args[2]);
    let encoder = HashEncoder::new(256);
    let ms = |t: Instant| t.elapsed().as_secs_f64() * 1e3;
    if args[1] == "make" {
        let n: usize = args[3].parse().unwrap();
        let store = Store::create(dir, encoder.spec(), args[4].parse().unwrap()).unwrap();
        let mut w = store.writer().unwrap();
        let words =
            ["dog", "cat", "grass", "running", "two", "on", "red", "car", "snow", "child", "swing", "rocks"];
        for i in 0..n {
            let captions = (0..5)
                .map(|c| {
                    (0..10)
                        .map(|j| words[(i * 7 + c * 5 + j * (i % 11 + 1)) % words.len()])
                        .collect::<Vec<_>>()
                        .join(" ")
                })
                .collect();
            let r = ImageRecord {
                uri: format!("/photos/IMG_{i}.jpg"),
                content_hash: ContentHash([1; 32]),
                bytes: 1,
                modified_ns: Some(1),
                size: RasterSize { width: 1, height: 1 },
                captions,
            };
            w.put(r, &encoder.vector(&i.to_le_bytes())).unwrap();
        }
        let t = Instant::now();
        w.commit().unwrap();
        println!("commit {n}: {:.1} ms", ms(t));
        return;
    }
    let q = encoder.vector(&5usize.to_le_bytes());
    let t = Instant::now();
    let store = Store::open(dir).unwrap();
    let s = store.snapshot().unwrap();
    println!("open+snapshot {:.2} ms", ms(t));
    for _ in 0..3 {
        let t = Instant::now();
        let hits = s.search_vectors(&q, 10, None).unwrap();
        println!("vectors {:.2} ms", ms(t));
        let t = Instant::now();
        for h in &hits {
            s.record(h.id).unwrap().unwrap();
        }
        println!("hydrate {:.2} ms", ms(t));
        let t = Instant::now();
        let n = s.search_text("two dogs running on grass", 10).unwrap().len();
        println!("text {n} {:.2} ms", ms(t));
    }
    let t = Instant::now();
    let w = store.writer().unwrap();
    println!("writer {:.2} ms", ms(t));
    let t = Instant::now();
    for i in 0..1000 {
        w.find(&format!("/photos/IMG_{i}.jpg")).unwrap();
    }
    println!("1000 finds {:.2} ms", ms(t));
    println!("{}", s.describe().unwrap());
}

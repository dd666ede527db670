use pictor_core::Encoder;
use pictor_encoders::*;
use std::time::Instant;
fn main() {
    let mut paths: Vec<_> = std::fs::read_dir("/work/shared/data/coco-val2017-sample/images")
        .unwrap()
        .map(|e| e.unwrap().path())
        .collect();
    paths.sort();
    let files: Vec<Vec<u8>> = paths.iter().map(|p| std::fs::read(p).unwrap()).collect();
    for choice in [RuntimeChoice::Tract, RuntimeChoice::OnnxRuntime] {
        let t = Instant::now();
        let e = DualEncoder::open(&ModelFolder::bundled(), &RuntimeOptions { choice, threads: 0 }).unwrap();
        println!("{}\n open {:?}", e.runtime(), t.elapsed());
        let t = Instant::now();
        e.warm_up(false, true).unwrap();
        println!(" text tower load+first {:?}", t.elapsed());
        let t = Instant::now();
        e.warm_up(true, false).unwrap();
        println!(" image tower load+first {:?}", t.elapsed());
        let mut best = f64::MAX;
        let mut sp = [0.0; 2];
        let mut prep = vec![];
        for _ in 0..3 {
            let t = Instant::now();
            prep = files.iter().map(|f| e.prepare_image(f).unwrap()).collect();
            let d = t.elapsed().as_secs_f64();
            if d < best {
                best = d;
                sp = [0, 1].map(|i| {
                    prep.iter().map(|p: &pictor_core::PreparedImage| p.spent[i].as_secs_f64()).sum::<f64>()
                });
            }
        }
        println!(
            " prepare {:.1}/s/core (decode {:.2} ms, resize+normalise {:.2} ms each)",
            files.len() as f64 / best,
            sp[0] * 1e3 / files.len() as f64,
            sp[1] * 1e3 / files.len() as f64
        );
        let b = &prep[..32];
        let mut best = f64::MAX;
        for _ in 0..5 {
            let t = Instant::now();
            e.encode_images(b).unwrap();
            best = best.min(t.elapsed().as_secs_f64());
        }
        println!(" encode images batch 32: {:.1}/s", 32.0 / best);
        let caps: Vec<String> = std::fs::read_to_string("/work/shared/data/flickr8k/captions.token.txt")
            .unwrap()
            .lines()
            .take(500)
            .map(|l| l.split('\t').nth(1).unwrap().to_string())
            .collect();
        let c: Vec<&str> = caps.iter().map(|s| s.as_str()).collect();
        let mut best = f64::MAX;
        for _ in 0..3 {
            let t = Instant::now();
            e.encode_texts(&c).unwrap();
            best = best.min(t.elapsed().as_secs_f64());
        }
        println!(" encode texts (500): {:.1}/s", 500.0 / best);
        let mut best = f64::MAX;
        for _ in 0..10 {
            let t = Instant::now();
            e.encode_texts(&["two dogs running on the grass"]).unwrap();
            best = best.min(t.elapsed().as_secs_f64());
        }
        println!(" one query {:.2} ms", best * 1e3);
        let mut best = f64::MAX;
        for _ in 0..10 {
            let t = Instant::now();
            e.encode_images(&prep[..1]).unwrap();
            best = best.min(t.elapsed().as_secs_f64());
        }
        println!(" one image {:.2} ms", best * 1e3);
    }
}

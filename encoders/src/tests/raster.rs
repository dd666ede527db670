//! Resize, crop and their rounding, against rasters that Pillow made (`tests/golden/make_preprocess.py`).

use serde::Deserialize;

use super::picture;
use crate::preprocess::{Preprocess, ResizeMode};
use crate::resize::Filter;

#[derive(Deserialize)]
struct Golden {
    cases: Vec<Case>,
}

#[derive(Deserialize)]
struct Case {
    image: [u32; 3],
    resize: ResizeMode,
    size: [u32; 2],
    filter: Filter,
    first: Vec<u8>,
    blake3: String,
}

#[test]
fn every_pixel_is_pillows() {
    let golden: Golden = serde_json::from_str(include_str!("../../tests/golden/preprocess.json")).unwrap();
    let mut wrong = Vec::new();
    for Case { image: [width, height, seed], resize, size, filter, first, blake3 } in &golden.cases {
        let preprocess = Preprocess {
            width: size[0],
            height: size[1],
            resize: *resize,
            filter: *filter,
            mean: [0.0; 3],
            std: [1.0; 3],
            shortest_edge: None,
            crop_offset: Default::default(),
            convert_rgb: Default::default(),
        };
        let raster = preprocess.raster(&picture(*width, *height, *seed));
        if blake3::hash(&raster).to_hex().as_str() != blake3 {
            let ours = &raster[..6];
            wrong.push(format!(
                "{width}x{height} {resize:?} {filter:?} to {size:?}: {ours:?}, Pillow {first:?}"
            ));
        }
    }
    assert!(wrong.is_empty(), "{} of {} differ:\n{}", wrong.len(), golden.cases.len(), wrong.join("\n"));
    assert_eq!(golden.cases.len(), 198);
}

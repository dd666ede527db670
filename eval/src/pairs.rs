//! Which rows of two embedding files belong together: the ground truth when there are vectors and no captions.
//!
//! Why image rows are merged: files that hold one row a caption repeat an image's row for each of its captions, and an image that
//! is ranked five times would count as five.

use crate::EvalError;

/// How the rows of a text file are told to which image they belong.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Pairing {
    /// The image row of each text, in order, from 0.
    Images(Vec<usize>),
    /// So many texts in a row belong to each image: text `i` to image `i / n`. The image file has one row an image, or repeats each
    /// row for its texts.
    TextsPerImage(usize),
    /// Row `i` of the images belongs to row `i` of the texts; equal rows that follow one another are one image.
    Repeated,
}

/// Distinct images, and the image of each text.
#[derive(Clone, Debug, PartialEq)]
pub struct PairedRows {
    /// One row an image, row-major.
    pub images: Vec<f32>,
    /// The image row of each text, in order.
    pub image_of_text: Vec<usize>,
}

/// Merges equal rows that follow one another (bit for bit): the distinct rows, and for each row received which of them it is.
///
/// Two different images with the same embedding are told apart unless they are neighbours. `dim` 0 gives nothing.
pub fn merge_repeated_rows(dim: usize, rows: &[f32]) -> (Vec<f32>, Vec<usize>) {
    let mut distinct: Vec<f32> = Vec::new();
    let mut row_of = Vec::new();
    if dim == 0 {
        return (distinct, row_of);
    }
    for row in rows.chunks_exact(dim) {
        let last = distinct.len().checked_sub(dim).map(|start| &distinct[start..]);
        if !last.is_some_and(|last| same(last, row)) {
            distinct.extend_from_slice(row);
        }
        row_of.push(distinct.len() / dim - 1);
    }
    (distinct, row_of)
}

fn same(a: &[f32], b: &[f32]) -> bool {
    a.iter().zip(b).all(|(a, b)| a.to_bits() == b.to_bits())
}

/// Pairs `images` (row-major, rows of `dim`) with a number of texts.
///
/// # Errors
/// [`EvalError::Rows`] when the numbers of rows do not fit the pairing; [`EvalError::NoSuchImage`] when a text is said to belong to
/// a row that is not there.
pub fn pair_rows(
    dim: usize,
    images: Vec<f32>,
    texts: usize,
    pairing: Pairing,
) -> Result<PairedRows, EvalError> {
    let wrong = |reason: String| Err(EvalError::Rows { reason });
    let rows = images.len().checked_div(dim).unwrap_or(0);
    if rows == 0 || texts == 0 || rows * dim != images.len() {
        return wrong(format!(
            "{} numbers of images in rows of {dim}, {texts} texts; both files need rows",
            images.len()
        ));
    }
    match pairing {
        Pairing::Images(image_of_text) => {
            if image_of_text.len() != texts {
                return wrong(format!(
                    "{} numbers of images for {texts} texts; give exactly one for each text, in their order",
                    image_of_text.len()
                ));
            }
            if let Some(caption) = image_of_text.iter().position(|&image| image >= rows) {
                return Err(EvalError::NoSuchImage { caption, image: image_of_text[caption], images: rows });
            }
            Ok(PairedRows { images, image_of_text })
        }
        Pairing::TextsPerImage(0) => wrong("0 texts an image; give at least 1".into()),
        Pairing::TextsPerImage(n) if Some(texts) == rows.checked_mul(n) => {
            Ok(PairedRows { images, image_of_text: (0..texts).map(|text| text / n).collect() })
        }
        Pairing::TextsPerImage(n) if rows == texts && texts.is_multiple_of(n) => {
            let mut first = Vec::with_capacity(images.len() / n);
            for (image, block) in images.chunks_exact(dim * n).enumerate() {
                let (head, rest) = block.split_at(dim);
                if !rest.chunks_exact(dim).all(|row| same(head, row)) {
                    let start = image * n;
                    return wrong(format!(
                        "rows {start} to {} of the images differ, with {n} texts an image they must repeat one image; say which \
                         image each text belongs to",
                        start + n - 1
                    ));
                }
                first.extend_from_slice(head);
            }
            Ok(PairedRows { images: first, image_of_text: (0..texts).map(|text| text / n).collect() })
        }
        Pairing::TextsPerImage(n) => wrong(format!(
            "{texts} texts are not {n} for each of {rows} images; say which image each text belongs to"
        )),
        Pairing::Repeated if rows == texts => {
            let (images, image_of_text) = merge_repeated_rows(dim, &images);
            Ok(PairedRows { images, image_of_text })
        }
        Pairing::Repeated => wrong(format!(
            "{rows} rows of images for {texts} of texts; say which image each text belongs to, or how many texts an image has"
        )),
    }
}

/// Image rows from text: whole numbers from 0, separated by white space or commas.
///
/// # Errors
/// [`EvalError::Rows`] with the first word that is no such number, or when there is none at all.
pub fn parse_indices(text: &str) -> Result<Vec<usize>, EvalError> {
    let words = text.trim_start_matches('\u{feff}').split(|c: char| c == ',' || c.is_whitespace());
    let indices = words
        .filter(|word| !word.is_empty())
        .map(|word| {
            word.parse().map_err(|_| EvalError::Rows {
                reason: format!("'{word}' is no image row; give whole numbers from 0"),
            })
        })
        .collect::<Result<Vec<usize>, _>>()?;
    if indices.is_empty() {
        return Err(EvalError::Rows {
            reason: "the file names no image rows; give one whole number a text".into(),
        });
    }
    Ok(indices)
}

#[cfg(test)]
mod tests {
    use super::*;

    const A: [f32; 2] = [1.0, 0.0];
    const B: [f32; 2] = [0.0, 1.0];

    fn rows(rows: &[[f32; 2]]) -> Vec<f32> {
        rows.concat()
    }

    #[test]
    fn neighbours_merge_and_others_do_not() {
        assert_eq!(merge_repeated_rows(2, &rows(&[A, A, B, A])), (rows(&[A, B, A]), vec![0, 0, 1, 2]));
        assert_eq!(merge_repeated_rows(2, &[]), (vec![], vec![]));
        assert_eq!(merge_repeated_rows(0, &[1.0]), (vec![], vec![]));
        // 0 and −0 are different files' bytes; NaN equals itself here, so that it is refused once and not ranked twice.
        assert_eq!(merge_repeated_rows(1, &[0.0, -0.0, f32::NAN, f32::NAN]).1, [0, 1, 2, 2]);
    }

    #[test]
    fn every_pairing() {
        let pair = |images: &[[f32; 2]], texts, pairing| pair_rows(2, rows(images), texts, pairing);
        let paired =
            |images: &[[f32; 2]], of: &[usize]| PairedRows { images: rows(images), image_of_text: of.into() };
        assert_eq!(pair(&[A, B], 3, Pairing::Images(vec![1, 1, 0])).unwrap(), paired(&[A, B], &[1, 1, 0]));
        assert_eq!(pair(&[A, B], 4, Pairing::TextsPerImage(2)).unwrap(), paired(&[A, B], &[0, 0, 1, 1]));
        assert_eq!(
            pair(&[A, A, B, B], 4, Pairing::TextsPerImage(2)).unwrap(),
            paired(&[A, B], &[0, 0, 1, 1])
        );
        assert_eq!(
            pair(&[A, A, A, A], 4, Pairing::TextsPerImage(2)).unwrap(),
            paired(&[A, A], &[0, 0, 1, 1])
        );
        assert_eq!(pair(&[A, A, B], 3, Pairing::Repeated).unwrap(), paired(&[A, B], &[0, 0, 1]));
        for (images, texts, pairing) in [
            (&[A, B][..], 2, Pairing::Images(vec![0])),
            (&[A, B], 1, Pairing::Images(vec![2])),
            (&[A, B], 4, Pairing::TextsPerImage(0)),
            (&[A, B], 5, Pairing::TextsPerImage(2)),
            (&[A, B], 2, Pairing::TextsPerImage(2)),
            (&[A, B], 4, Pairing::TextsPerImage(usize::MAX)),
            (&[A, B], 3, Pairing::Repeated),
            (&[], 3, Pairing::Repeated),
            (&[A], 0, Pairing::Repeated),
        ] {
            assert!(pair(images, texts, pairing.clone()).is_err(), "{pairing:?}");
        }
    }

    #[test]
    fn indices_in_text() {
        assert_eq!(parse_indices("\u{feff}0\r\n0, 1\n\n2").unwrap(), [0, 0, 1, 2]);
        for bad in ["", "\n", "0 -1", "1.0", "a"] {
            assert!(parse_indices(bad).is_err(), "{bad}");
        }
    }
}

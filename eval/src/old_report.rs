//! What an evaluation says, to programs (serde) and to people (`Display`).

use std::fmt;

use serde::{Deserialize, Serialize};

/// How every figure here is defined; part of each report, because figures of different definitions look alike.
pub const PROTOCOL: &str = "CLIP_benchmark: R@K = share of queries with at least one positive among the first K, in percent; \
every caption of every image is used, without a prompt; items of equal score rank in dataset order";

/// How often a query finds a positive, over all queries of one direction.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Recall {
    /// Percent of queries whose first result is a positive, 0..=100.
    #[serde(rename = "R@1")]
    pub r1: f64,
    /// Percent of queries with a positive among the first 5, 0..=100.
    #[serde(rename = "R@5")]
    pub r5: f64,
    /// Percent of queries with a positive among the first 10, 0..=100.
    #[serde(rename = "R@10")]
    pub r10: f64,
    /// Median over queries of the best positive's rank, from 1; the mean of the middle two for an even count. `None` when
    /// a ranking ended before a positive was met.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub median_rank: Option<f64>,
    /// Mean over queries of the best positive's rank, from 1. `None` as above.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mean_rank: Option<f64>,
}

impl Recall {
    /// From the rank of each query's best positive, counted from 1, or `None` where the ranking ended before one was met
    /// (a miss at every K). Without queries there is nothing to find, and every figure is 0.
    pub fn from_ranks(ranks: &[Option<usize>]) -> Self {
        let percent = |k| {
            let hits = ranks.iter().flatten().filter(|&&rank| rank <= k).count();
            100.0 * hits as f64 / ranks.len().max(1) as f64
        };
        let known: Option<Vec<usize>> = ranks.iter().copied().collect();
        let mut known = known.unwrap_or_default();
        known.sort_unstable();
        let middle = known.len() / 2;
        let median = known.get(middle).map(|&upper| match known.len() % 2 {
            1 => upper as f64,
            _ => (known[middle - 1] + upper) as f64 / 2.0,
        });
        let mean = median.map(|_| known.iter().sum::<usize>() as f64 / known.len() as f64);
        Self { r1: percent(1), r5: percent(5), r10: percent(10), median_rank: median, mean_rank: mean }
    }
}

/// R@K in both directions.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct RetrievalReport {
    /// Each caption is a query; its positive is its one image.
    pub text_to_image: Recall,
    /// Each image that has captions is a query; its positives are all its captions.
    pub image_to_text: Recall,
    /// Images ranked.
    pub images: usize,
    /// Captions ranked.
    pub captions: usize,
    /// Images that no caption describes: they are ranked for every text, and are no queries themselves, because nothing
    /// could be found for them. (CLIP_benchmark would count each as a miss; the datasets it reads have none.)
    pub images_without_captions: usize,
    /// The definition of the figures, [`PROTOCOL`].
    pub protocol: String,
}

impl fmt::Display for RetrievalReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let number = |value: Option<f64>| value.map_or_else(|| "–".into(), |value| format!("{value:.1}"));
        let title = ["", "R@1", "R@5", "R@10", "median rank", "mean rank"];
        let [a, b, c, d, e, g] = title;
        writeln!(f, "{a:<14}{b:>7}{c:>7}{d:>7}{e:>14}{g:>12}")?;
        for (name, recall) in [("text → image", &self.text_to_image), ("image → text", &self.image_to_text)]
        {
            let Recall { r1, r5, r10, median_rank, mean_rank } = recall;
            let (median, mean) = (number(*median_rank), number(*mean_rank));
            writeln!(f, "{name:<14}{r1:>7.1}{r5:>7.1}{r10:>7.1}{median:>14}{mean:>12}")?;
        }
        write!(f, "{} images, {} captions", self.images, self.captions)?;
        if self.images_without_captions > 0 {
            write!(
                f,
                "; {} images without captions are ranked but are no queries",
                self.images_without_captions
            )?;
        }
        write!(f, "\n{}", self.protocol)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_ranks() {
        let recall = Recall::from_ranks(&[1, 5, 6, 11].map(Some));
        assert_eq!((recall.r1, recall.r5, recall.r10), (25.0, 50.0, 75.0));
        assert_eq!((recall.median_rank, recall.mean_rank), (Some(5.5), Some(5.75)));
        assert_eq!(Recall::from_ranks(&[3, 1, 2].map(Some)).median_rank, Some(2.0));
    }

    #[test]
    fn a_ranking_that_ended_is_a_miss_and_has_no_mean() {
        let recall = Recall::from_ranks(&[Some(1), None]);
        assert_eq!((recall.r1, recall.r10), (50.0, 50.0));
        assert_eq!((recall.median_rank, recall.mean_rank), (None, None));
    }

    #[test]
    fn no_queries_no_division() {
        let recall = Recall::from_ranks(&[]);
        assert_eq!((recall.r1, recall.mean_rank), (0.0, None));
    }

    #[test]
    fn speaks_json_and_plain_text() {
        let report = RetrievalReport {
            text_to_image: Recall::from_ranks(&[Some(1), Some(4)]),
            image_to_text: Recall::from_ranks(&[Some(1)]),
            images: 2,
            captions: 2,
            images_without_captions: 1,
            protocol: PROTOCOL.into(),
        };
        let json = serde_json::to_value(&report).unwrap();
        assert_eq!(json["text_to_image"]["R@1"], 50.0);
        assert_eq!(json["text_to_image"]["R@5"], 100.0);
        assert_eq!(json["image_to_text"]["R@10"], 100.0);
        assert_eq!((&json["images"], &json["captions"]), (&2.into(), &2.into()));
        assert_eq!(serde_json::from_value::<RetrievalReport>(json).unwrap(), report);

        let text = report.to_string();
        let lines: Vec<&str> = text.lines().collect();
        assert_eq!(lines[0], "                  R@1    R@5   R@10   median rank   mean rank");
        assert_eq!(lines[1], "text → image     50.0  100.0  100.0           2.5         2.5");
        assert_eq!(lines[2], "image → text    100.0  100.0  100.0           1.0         1.0");
        assert_eq!(lines[3], "2 images, 2 captions; 1 images without captions are ranked but are no queries");
    }
}

//! The few shapes that charts are made of. Colours and lettering are classes of `style.css`, so one drawing is right in light and
//! in dark.

use super::escape;

/// From values to pixels, linear or by logarithm.
#[derive(Clone, Copy)]
pub(super) struct Scale {
    /// First and last value; both above 0 on a logarithmic scale.
    pub values: [f64; 2],
    /// Where they lie.
    pub pixels: [f64; 2],
    /// Whether equal ratios, not equal differences, are equally far apart.
    pub log: bool,
}

impl Scale {
    /// Where a value lies; outside of the ends for values outside of them.
    pub fn at(&self, value: f64) -> f64 {
        let along = |v: f64| if self.log { v.max(f64::MIN_POSITIVE).ln() } else { v };
        let ([first, last], [from, to]) = (self.values.map(along), self.pixels);
        let length = if last == first { 1.0 } else { last - first };
        from + (along(value) - first) / length * (to - from)
    }
}

/// How a text stands to its point.
#[derive(Clone, Copy)]
pub(super) enum Anchor {
    Start,
    Middle,
    End,
}

/// A drawing in the making.
pub(super) struct Svg {
    width: f64,
    height: f64,
    body: String,
}

impl Svg {
    /// Empty, of this many pixels; on the page it takes the width there is.
    pub fn new(width: f64, height: f64) -> Self {
        Self { width, height, body: String::new() }
    }

    pub fn line(&mut self, class: &str, [x1, y1]: [f64; 2], [x2, y2]: [f64; 2]) {
        let [x1, y1, x2, y2] = [x1, y1, x2, y2].map(pixel);
        self.body += &format!("<line class=\"{class}\" x1=\"{x1}\" y1=\"{y1}\" x2=\"{x2}\" y2=\"{y2}\"/>\n");
    }

    pub fn polyline(&mut self, class: &str, points: impl Iterator<Item = [f64; 2]>) {
        let points: Vec<String> = points.map(|[x, y]| format!("{},{}", pixel(x), pixel(y))).collect();
        self.body += &format!("<polyline class=\"{class}\" points=\"{}\"/>\n", points.join(" "));
    }

    /// A point, which says what it is when pointed at.
    pub fn dot(&mut self, class: &str, [x, y]: [f64; 2], radius: f64, says: &str) {
        let [x, y, r] = [x, y, radius].map(pixel);
        let says = escape(says);
        self.body += &format!(
            "<circle class=\"{class}\" cx=\"{x}\" cy=\"{y}\" r=\"{r}\"><title>{says}</title></circle>\n"
        );
    }

    /// A bar, which says what it is when pointed at.
    pub fn bar(&mut self, class: &str, [x, y]: [f64; 2], [width, height]: [f64; 2], says: &str) {
        let [x, y, w, h] = [x, y, width.max(0.0), height.max(0.0)].map(pixel);
        let says = escape(says);
        self.body += &format!(
            "<rect class=\"{class}\" x=\"{x}\" y=\"{y}\" width=\"{w}\" height=\"{h}\"><title>{says}</title></rect>\n"
        );
    }

    pub fn text(&mut self, class: &str, [x, y]: [f64; 2], anchor: Anchor, words: &str) {
        let anchor = match anchor {
            Anchor::Start => "start",
            Anchor::Middle => "middle",
            Anchor::End => "end",
        };
        let [x, y] = [x, y].map(pixel);
        self.body += &format!(
            "<text class=\"{class}\" x=\"{x}\" y=\"{y}\" text-anchor=\"{anchor}\">{}</text>\n",
            escape(words)
        );
    }

    /// The element. `says` is what is read out in its place.
    pub fn finish(self, says: &str) -> String {
        let Self { width, height, body } = self;
        let [w, h] = [width, height].map(pixel);
        format!(
            "<svg viewBox=\"0 0 {w} {h}\" width=\"{w}\" height=\"{h}\" role=\"img\" aria-label=\"{}\">\n{body}</svg>",
            escape(says)
        )
    }
}

/// To a tenth, without a zero that says nothing; a value that cannot be drawn lies at 0.
fn pixel(value: f64) -> String {
    let value = if value.is_finite() { (value * 10.0).round() / 10.0 } else { 0.0 };
    // Adding 0 makes a negative zero positive.
    format!("{}", value + 0.0)
}

/// `y` of labels in the order of `wanted`, moved apart so that each two are at least `apart` pixels away, within `range` as far
/// as they fit.
pub(super) fn spread(wanted: &[f64], apart: f64, range: [f64; 2]) -> Vec<f64> {
    let mut order: Vec<usize> = (0..wanted.len()).collect();
    order.sort_by(|&a, &b| wanted[a].total_cmp(&wanted[b]));
    let mut placed = wanted.to_vec();
    let mut lowest = range[0];
    for &i in &order {
        placed[i] = placed[i].max(lowest);
        lowest = placed[i] + apart;
    }
    let mut highest = range[1];
    for &i in order.iter().rev() {
        placed[i] = placed[i].min(highest);
        highest = placed[i] - apart;
    }
    placed
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn scales_meet_their_ends() {
        let log = Scale { values: [1.0, 100.0], pixels: [10.0, 30.0], log: true };
        assert_eq!([1.0, 10.0, 100.0].map(|v| log.at(v).round()), [10.0, 20.0, 30.0]);
        let flat = Scale { values: [5.0, 5.0], pixels: [0.0, 9.0], log: false };
        assert_eq!(flat.at(5.0), 0.0);
    }

    #[test]
    fn labels_move_apart() {
        assert_eq!(spread(&[50.0, 51.0, 10.0], 10.0, [0.0, 100.0]), [50.0, 60.0, 10.0]);
        assert_eq!(spread(&[99.0, 99.0], 10.0, [0.0, 100.0]), [90.0, 100.0]);
        assert!(spread(&[], 10.0, [0.0, 100.0]).is_empty());
    }

    #[test]
    fn pixels_are_short_and_always_numbers() {
        assert_eq!([1.0, 1.25, -0.01, f64::NAN, f64::INFINITY].map(pixel), ["1", "1.3", "0", "0", "0"]);
    }
}

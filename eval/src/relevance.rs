//! Which items answer which query.
//!
//! One type for all sources: captions (each text belongs to one image), and judgements made afterwards, such as ECCV Caption and
//! CxC, which find further positives and need not be symmetric. What must stay true: every positive is an item of the set, each
//! list is ascending without repeats, and a query with an empty list is no query.

use crate::EvalError;

/// The positives of every text and of every image.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Relevance {
    images_of_text: Lists,
    texts_of_image: Lists,
}

impl Relevance {
    /// From captions: `image_of_text[t]` is the one image that text `t` describes; an image may have any number of texts,
    /// and one of the `images` images that has none is no query.
    ///
    /// # Errors
    /// [`EvalError::NoSuchImage`] when an index is not below `images`, [`EvalError::Nothing`] when a side is empty,
    /// [`EvalError::TooMany`] when a side does not count in 32 bits.
    pub fn from_captions(image_of_text: &[usize], images: usize) -> Result<Self, EvalError> {
        if let Some((caption, &image)) = image_of_text.iter().enumerate().find(|&(_, &image)| image >= images)
        {
            return Err(EvalError::NoSuchImage { caption, image, images });
        }
        check_sizes(image_of_text.len(), images)?;
        let mut texts_of_image = vec![Vec::new(); images];
        for (text, &image) in image_of_text.iter().enumerate() {
            texts_of_image[image].push(text as u32);
        }
        let images_of_text = image_of_text.iter().map(|&image| vec![image as u32]).collect();
        Ok(Self { images_of_text: Lists::new(images_of_text), texts_of_image: Lists::new(texts_of_image) })
    }

    /// From both sides' lists, which need not mirror each other: `images_of_text[t]` are the images that answer text `t`,
    /// `texts_of_image[i]` the texts that answer image `i`, in any order, repeats counted once. An empty list: no query.
    ///
    /// # Errors
    /// As [`Relevance::from_captions`], and [`EvalError::NoSuchCaption`].
    pub fn new(images_of_text: Vec<Vec<u32>>, texts_of_image: Vec<Vec<u32>>) -> Result<Self, EvalError> {
        let (texts, images) = (images_of_text.len(), texts_of_image.len());
        check_sizes(texts, images)?;
        if let Some((caption, image)) = outside(&images_of_text, images) {
            return Err(EvalError::NoSuchImage { caption, image, images });
        }
        if let Some((image, caption)) = outside(&texts_of_image, texts) {
            return Err(EvalError::NoSuchCaption { image, caption, captions: texts });
        }
        Ok(Self { images_of_text: Lists::new(images_of_text), texts_of_image: Lists::new(texts_of_image) })
    }

    /// The images that answer text `text`, ascending; empty when it is no query, or past the end.
    pub fn images_of_text(&self, text: u32) -> &[u32] {
        self.images_of_text.get(text)
    }

    /// The texts that answer image `image`, ascending; empty when it is no query, or past the end.
    pub fn texts_of_image(&self, image: u32) -> &[u32] {
        self.texts_of_image.get(image)
    }

    /// The longest list of positives, of either side: how much of a ranking mAP@R asks for.
    pub fn most_positives(&self) -> usize {
        let longest = |lists: &Lists| lists.starts.windows(2).map(|ends| ends[1] - ends[0]).max();
        longest(&self.images_of_text).max(longest(&self.texts_of_image)).unwrap_or(0)
    }

    /// Number of texts, with and without positives.
    pub fn texts(&self) -> usize {
        self.images_of_text.len()
    }

    /// Number of images, with and without positives.
    pub fn images(&self) -> usize {
        self.texts_of_image.len()
    }

    /// Texts that are queries: those with a positive.
    pub fn text_queries(&self) -> usize {
        self.images_of_text.queries().count()
    }

    /// Images that are queries: those with a positive.
    pub fn image_queries(&self) -> usize {
        self.texts_of_image.queries().count()
    }
}

/// The first list that holds an index which is not below `end`, and that index.
fn outside(lists: &[Vec<u32>], end: usize) -> Option<(usize, usize)> {
    let lists = lists.iter().enumerate();
    let mut all = lists.flat_map(|(i, list)| list.iter().map(move |&item| (i, item as usize)));
    all.find(|&(_, item)| item >= end)
}

/// Indices are u32, and `u32::MAX` stands for what is not of the set.
fn check_sizes(captions: usize, images: usize) -> Result<(), EvalError> {
    if captions == 0 || images == 0 {
        return Err(EvalError::Nothing { images, captions });
    }
    if captions.max(images) >= u32::MAX as usize {
        return Err(EvalError::TooMany { images, captions });
    }
    Ok(())
}

/// A list per query, all in one allocation: list `q` is `items[starts[q]..starts[q + 1]]`.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Lists {
    starts: Vec<usize>,
    items: Vec<u32>,
}

impl Lists {
    fn new(lists: Vec<Vec<u32>>) -> Self {
        let mut starts = Vec::with_capacity(lists.len() + 1);
        starts.push(0);
        let mut items = Vec::with_capacity(lists.iter().map(Vec::len).sum());
        for mut list in lists {
            list.sort_unstable();
            list.dedup();
            items.extend(list);
            starts.push(items.len());
        }
        Self { starts, items }
    }

    fn len(&self) -> usize {
        self.starts.len() - 1
    }

    fn get(&self, query: u32) -> &[u32] {
        match self.starts.get(query as usize..).unwrap_or_default() {
            [start, end, ..] => &self.items[*start..*end],
            _ => &[],
        }
    }

    fn queries(&self) -> impl Iterator<Item = u32> {
        (0..self.len() as u32).filter(|&query| !self.get(query).is_empty())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn captions_are_positives_both_ways() {
        let relevance = Relevance::from_captions(&[2, 0, 2], 4).unwrap();
        assert_eq!(relevance.images_of_text(0), [2]);
        assert_eq!(relevance.texts_of_image(2), [0, 2]);
        assert!(relevance.texts_of_image(1).is_empty() && relevance.texts_of_image(99).is_empty());
        assert_eq!((relevance.texts(), relevance.images()), (3, 4));
        assert_eq!((relevance.text_queries(), relevance.image_queries()), (3, 2));
        assert_eq!(relevance.most_positives(), 2);
    }

    #[test]
    fn judgements_need_not_mirror_each_other() {
        let relevance = Relevance::new(vec![vec![1, 0, 1], vec![]], vec![vec![1], vec![]]).unwrap();
        assert_eq!(relevance.images_of_text(0), [0, 1], "ascending, once each");
        assert_eq!((relevance.text_queries(), relevance.image_queries()), (1, 1));
    }

    #[test]
    fn what_is_not_there_answers_nothing() {
        let error = |result: Result<Relevance, EvalError>| result.unwrap_err().to_string();
        assert!(error(Relevance::from_captions(&[0, 2], 2)).contains("caption 1 belongs to image 2"));
        assert!(error(Relevance::new(vec![vec![3]], vec![vec![]])).contains("image 3"));
        assert!(error(Relevance::new(vec![vec![0]], vec![vec![1]])).contains("caption 1"));
        assert!(matches!(
            Relevance::from_captions(&[], 2),
            Err(EvalError::Nothing { images: 2, captions: 0 })
        ));
        assert!(matches!(Relevance::new(vec![], vec![]), Err(EvalError::Nothing { .. })));
    }
}

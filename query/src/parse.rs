//! Which requests can be answered: limits, and what each mode needs. Pure, and done before anything costs time.

use pictor_storage::Filter;

use crate::{Mode, QueryError, SearchRequest};

/// Most hits of one answer. Every hit is a record read and shown; whoever wants a whole index reads the index.
pub const MAX_K: usize = 1000;

/// Longest query text, in characters. Far above what models read (48 to 77 tokens) and far below what could hurt.
pub const MAX_TEXT_CHARS: usize = 4096;

/// Largest search effort: at this point an approximate search costs about as much as an exact one.
pub const MAX_EFFORT: usize = 100_000;

/// Most candidates that are reranked: each is an image that a model looks at.
pub const MAX_RERANK: usize = 1000;

/// The request's text, trimmed; `None` when there is none to speak of.
///
/// # Errors
/// What the caller has to change before the request makes sense.
pub(crate) fn check(request: &SearchRequest) -> Result<Option<&str>, QueryError> {
    let SearchRequest { mode, k, effort, .. } = *request;
    if !(1..=MAX_K).contains(&k) {
        return Err(QueryError::KOutOfRange(k));
    }
    if let Some(effort) = effort
        && !(1..=MAX_EFFORT).contains(&effort)
    {
        return Err(QueryError::EffortOutOfRange(effort));
    }
    let text = request.text.as_deref().map(str::trim).filter(|text| !text.is_empty());
    if let Some(text) = text {
        let chars = text.chars().count();
        if chars > MAX_TEXT_CHARS {
            return Err(QueryError::TextTooLong(chars));
        }
    }
    if let Some(rerank) = request.rerank
        && !(1..=MAX_RERANK).contains(&rerank)
    {
        return Err(QueryError::RerankOutOfRange(rerank));
    }
    if request.deadline.is_some() && request.rerank.is_none() {
        return Err(QueryError::DeadlineWithoutRerank);
    }
    let has_image = request.image.is_some() || request.like.is_some();
    match mode {
        _ if text.is_none() && !has_image => Err(QueryError::EmptyQuery),
        // Ranking an image query by vector alone would be an answer to another mode.
        Mode::Text | Mode::Hybrid if text.is_none() => Err(QueryError::NeedsText(mode)),
        Mode::Text if has_image => Err(QueryError::ImageInTextMode),
        _ if text.is_none() && request.rerank.is_some() => Err(QueryError::RerankNeedsText),
        _ => Ok(text),
    }
}

/// The request's filter; `None` when there is none to speak of.
///
/// # Errors
/// [`QueryError::Filter`] when it is not of the grammar.
pub(crate) fn filter(request: &SearchRequest) -> Result<Option<Filter>, QueryError> {
    let text = request.filter.as_deref().filter(|text| !text.trim().is_empty());
    Ok(text.map(str::parse).transpose()?)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use pictor_core::ImageId;

    use super::*;

    fn text(text: &str) -> SearchRequest {
        SearchRequest { text: Some(text.into()), ..Default::default() }
    }

    #[test]
    fn takes_what_it_can_answer() {
        assert_eq!(check(&text("  dogs ")).unwrap(), Some("dogs"));
        assert_eq!(check(&SearchRequest { mode: Mode::Hybrid, ..text("dogs") }).unwrap(), Some("dogs"));
        let image = SearchRequest { image: Some(vec![1]), ..text(" ") };
        assert_eq!(check(&image).unwrap(), None);
        assert!(check(&SearchRequest { k: MAX_K, effort: Some(MAX_EFFORT), ..text("x") }).is_ok());
        assert!(check(&text(&"ж".repeat(MAX_TEXT_CHARS))).is_ok(), "characters, not bytes");
    }

    #[test]
    fn says_what_is_wrong_with_the_rest() {
        let error = |request: SearchRequest| check(&request).expect_err("must be refused");
        assert!(matches!(error(SearchRequest::default()), QueryError::EmptyQuery));
        assert!(matches!(error(SearchRequest { mode: Mode::Text, ..text("\n\t") }), QueryError::EmptyQuery));
        assert!(matches!(error(SearchRequest { k: 0, ..text("x") }), QueryError::KOutOfRange(0)));
        assert!(matches!(error(SearchRequest { k: 1001, ..text("x") }), QueryError::KOutOfRange(1001)));
        assert!(matches!(
            error(SearchRequest { effort: Some(0), ..text("x") }),
            QueryError::EffortOutOfRange(0)
        ));
        assert!(matches!(error(text(&"x".repeat(4097))), QueryError::TextTooLong(4097)));
        let like = SearchRequest { like: Some(ImageId(1)), ..Default::default() };
        for mode in [Mode::Text, Mode::Hybrid] {
            assert!(
                matches!(error(SearchRequest { mode, ..like.clone() }), QueryError::NeedsText(m) if m == mode)
            );
        }
        for rerank in [0, MAX_RERANK + 1] {
            let request = SearchRequest { rerank: Some(rerank), ..text("x") };
            assert!(matches!(error(request), QueryError::RerankOutOfRange(n) if n == rerank));
        }
        let image = SearchRequest { image: Some(vec![1]), rerank: Some(5), ..Default::default() };
        assert!(matches!(error(image), QueryError::RerankNeedsText));
        assert!(matches!(error(SearchRequest { rerank: Some(5), ..like }), QueryError::RerankNeedsText));
        let hurry = SearchRequest { deadline: Some(Duration::ZERO), ..text("x") };
        assert!(matches!(error(hurry), QueryError::DeadlineWithoutRerank));
        let both = SearchRequest { mode: Mode::Text, image: Some(vec![1]), ..text("x") };
        assert!(matches!(error(both), QueryError::ImageInTextMode));
    }
}

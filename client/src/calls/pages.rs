//! Lists, page by page: what is selected, in which order, how many.
//!
//! A list may have a million items, so nothing here holds more than a page unless the caller asks for `all`.

use futures_util::future::BoxFuture;
use prost_types::FieldMask;

use crate::error::CallError;

/// Items of one page: the largest that the API answers, to have the fewest round trips.
const PAGE_SIZE: i32 = 1000;

/// Which items of a list, in which order.
#[derive(Debug, Clone, Default)]
pub struct Selection {
    /// Which: the filter grammar of docs/api.md. Empty means all.
    pub filter: String,
    /// In which order: a property, with an optional " desc". Empty means the list's default.
    pub order_by: String,
    /// Which fields of each. `None` means the list's default.
    pub read_mask: Option<FieldMask>,
    /// The most items. `None` means all.
    pub limit: Option<u64>,
}

impl Selection {
    /// All that match a filter.
    #[must_use]
    pub fn filter(filter: impl Into<String>) -> Self {
        Self { filter: filter.into(), ..Self::default() }
    }
}

/// Answers one page for a token and a size: its items and the token of the next.
type Fetch<T> = Box<dyn Fn(String, i32) -> BoxFuture<'static, Result<(Vec<T>, String), CallError>> + Send>;

/// The pages of a list that are still to be read.
pub struct Pages<T> {
    fetch: Fetch<T>,
    token: Option<String>,
    left: Option<u64>,
}

impl<T> Pages<T> {
    pub(crate) fn new(limit: Option<u64>, fetch: Fetch<T>) -> Self {
        Self { fetch, token: Some(String::new()), left: limit }
    }

    /// The next page, `None` after the last. A page may be empty.
    ///
    /// # Errors
    /// As the call says.
    pub async fn next(&mut self) -> Result<Option<Vec<T>>, CallError> {
        let Some(token) = self.token.take() else { return Ok(None) };
        if self.left == Some(0) {
            return Ok(None);
        }
        let size =
            self.left.and_then(|left| i32::try_from(left).ok()).map_or(PAGE_SIZE, |left| left.min(PAGE_SIZE));
        let (mut items, next) = (self.fetch)(token, size).await?;
        if let Some(left) = &mut self.left {
            items.truncate(usize::try_from(*left).unwrap_or(usize::MAX));
            *left = left.saturating_sub(items.len() as u64);
        }
        self.token = Some(next).filter(|next| !next.is_empty());
        Ok(Some(items))
    }

    /// All items of all pages that are left.
    ///
    /// # Errors
    /// As the call says.
    pub async fn all(mut self) -> Result<Vec<T>, CallError> {
        let mut all = Vec::new();
        while let Some(page) = self.next().await? {
            all.extend(page);
        }
        Ok(all)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A list of 25 numbers that answers at most 10 a page.
    fn numbers(limit: Option<u64>) -> Pages<u32> {
        Pages::new(
            limit,
            Box::new(|token, size| {
                let first: u32 = if token.is_empty() { 0 } else { token.parse().unwrap() };
                let last = (first + u32::try_from(size).unwrap().min(10)).min(25);
                let next = if last < 25 { last.to_string() } else { String::new() };
                Box::pin(async move { Ok(((first..last).collect(), next)) })
            }),
        )
    }

    #[tokio::test]
    async fn pages_are_read_to_the_end_or_to_the_limit() {
        assert_eq!(numbers(None).all().await.unwrap(), (0..25).collect::<Vec<_>>());
        assert_eq!(numbers(Some(12)).all().await.unwrap(), (0..12).collect::<Vec<_>>());
        assert_eq!(numbers(Some(0)).all().await.unwrap(), Vec::<u32>::new());
        assert_eq!(numbers(Some(100)).all().await.unwrap().len(), 25);
    }
}

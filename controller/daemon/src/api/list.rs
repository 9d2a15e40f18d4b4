//! Lists: what filter, order, page size and page token of a request mean.
//!
//! The grammar and the properties are the store's (`muster_store::query`); here they are read from a request, and
//! each refusal gets its own reason so that a client knows which of the four is wrong.

use muster_proto::convert::{page_size, status};
use muster_proto::wire::ErrorReason;
use muster_store::StoreError;
use muster_store::query::{Filter, Page, PageCursor, Property, Query, QueryError, parse_filter, parse_order};
use prost::Message;
use tonic::{Code, Status};

use super::context::checked;
use super::refused::of_query;

/// The parts of a list request, as they come.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct ListRequest<'a> {
    pub(super) page_size: i32,
    pub(super) page_token: &'a str,
    pub(super) filter: &'a str,
    pub(super) order_by: &'a str,
}

/// The query that a list request asks.
pub(super) fn query<P: Property>(request: ListRequest<'_>) -> Result<Query<P>, Status> {
    let page_size = checked(|c| Some(page_size(c, request.page_size)))?;
    let filter = filter(request.filter)?;
    let order = parse_order(request.order_by).map_err(|error| {
        status(Code::InvalidArgument, ErrorReason::InvalidOrder, format!("order_by: {error}"))
    })?;
    let after = match request.page_token {
        "" => None,
        token => Some(PageCursor::decode(token).map_err(|error| of_query(&QueryError::Cursor(error)))?),
    };
    Ok(Query { filter, order, page_size, after })
}

/// A filter by itself.
pub(super) fn filter<P: Property>(text: &str) -> Result<Option<Filter<P>>, Status> {
    parse_filter(text).map_err(|error| {
        status(Code::InvalidArgument, ErrorReason::InvalidFilter, format!("filter: {error}"))
    })
}

/// The token of the next page; empty on the last.
pub(super) fn next_page_token<T>(page: &Page<T>) -> String {
    page.next.as_ref().map(PageCursor::encode).unwrap_or_default()
}

/// The most bytes of one page: gRPC clients take messages of 4 MiB unless told otherwise, and a header goes with it.
const PAGE_BYTES_MAX: usize = 3 * 1024 * 1024;

/// A page that fits into one message: where the rows are large, fewer are asked for until they do.
pub(super) fn fitting_page<P: Property, T: Message>(
    mut query: Query<P>,
    mut read: impl FnMut(&Query<P>) -> Result<(Vec<T>, String), StoreError>,
) -> Result<(Vec<T>, String), StoreError> {
    loop {
        let (messages, next) = read(&query)?;
        let bytes: usize = messages.iter().map(Message::encoded_len).sum();
        if bytes <= PAGE_BYTES_MAX || messages.len() <= 1 {
            return Ok((messages, next));
        }
        // As many as fit by their mean size, and at any rate fewer than were too many.
        let mean = (bytes / messages.len()).max(1);
        let fit = (PAGE_BYTES_MAX / mean).clamp(1, messages.len() - 1);
        query.page_size = u32::try_from(fit).unwrap_or(1);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use muster_proto::convert::reason_of;
    use muster_store::query::JobProperty;

    fn refused(request: ListRequest<'_>) -> Status {
        query::<JobProperty>(request).unwrap_err()
    }

    #[test]
    fn each_wrong_part_has_its_own_reason_and_names_what_is_allowed() {
        let filter = refused(ListRequest { filter: "sate = 'active'", ..ListRequest::default() });
        assert_eq!(reason_of(&filter), Some(ErrorReason::InvalidFilter));
        assert!(
            filter.message().contains("sate") && filter.message().contains("state"),
            "{}",
            filter.message()
        );
        let order = refused(ListRequest { order_by: "display_name", ..ListRequest::default() });
        assert_eq!(reason_of(&order), Some(ErrorReason::InvalidOrder));
        assert!(order.message().contains("create_time"), "{}", order.message());
        let token = refused(ListRequest { page_token: "abc", ..ListRequest::default() });
        assert_eq!(reason_of(&token), Some(ErrorReason::InvalidPageToken));
        assert!(token.message().contains("leave it empty"), "{}", token.message());
        let size = refused(ListRequest { page_size: -1, ..ListRequest::default() });
        assert_eq!(reason_of(&size), Some(ErrorReason::InvalidPropertyValue));
    }

    #[test]
    fn large_rows_make_a_small_page_and_one_row_is_always_answered() {
        let asked = std::cell::RefCell::new(Vec::new());
        let pages = |row_bytes: usize| {
            asked.borrow_mut().clear();
            let query =
                query::<JobProperty>(ListRequest { page_size: 100, ..ListRequest::default() }).unwrap();
            let page = fitting_page(query, |query| {
                asked.borrow_mut().push(query.page_size);
                let rows = usize::try_from(query.page_size).unwrap();
                Ok((vec!["x".repeat(row_bytes); rows], query.page_size.to_string()))
            });
            page.unwrap()
        };
        assert_eq!(pages(1000).0.len(), 100);
        let (rows, next) = pages(100_000);
        assert!(rows.len() == 31 && next == "31", "{}", rows.len());
        assert_eq!(*asked.borrow(), [100, 31]);
        assert_eq!(pages(4 * 1024 * 1024).0.len(), 1);
    }

    #[test]
    fn a_page_is_never_larger_than_the_largest() {
        let asked =
            |page_size| query::<JobProperty>(ListRequest { page_size, ..ListRequest::default() }).unwrap();
        assert_eq!(asked(0).page_size, 100);
        assert_eq!(asked(7).page_size, 7);
        assert_eq!(asked(i32::MAX).page_size, 1000);
    }
}

//! From a request to its place, or to when it may come again.

use std::sync::Arc;
use std::time::Duration;

use hyper::StatusCode;

use super::Core;
use crate::admission::{Entry, Permit, Refusal};
use crate::tenants::Tenant;
use crate::wire::ApiError;

/// When a key that has a rate of nothing may come again.
const NEVER_AGAIN: Duration = Duration::from_secs(24 * 3600);

/// What a request takes.
#[derive(Clone, Copy, Debug)]
pub(super) struct Cost {
    pub(super) prompt_tokens: u64,
    /// Of all choices, at most.
    pub(super) tokens_max: u64,
    /// The class that it asks for.
    pub(super) priority: u8,
}

/// A request of a key that has no more requests is refused before its body is read.
pub(super) fn take_request(core: &Core, tenant: &Tenant) -> Result<(), ApiError> {
    tenant.take_request().map_err(|retry_at| {
        core.metrics.refused_requests.add(1);
        tenant.refused.add(1);
        ApiError::rate_limited("requests", retry_at.wait().unwrap_or(NEVER_AGAIN))
    })
}

/// Counts a request that is refused before it waits: it is wrong, or there is no room for its body.
pub(super) fn note_refused(core: &Core, error: &ApiError) {
    let metrics = &core.metrics;
    if error.status == StatusCode::SERVICE_UNAVAILABLE {
        metrics.refused_overloaded.add(1);
    } else {
        metrics.refused_invalid.add(1);
    }
}

/// Waits for a request's turn.
pub(super) async fn admit(
    core: &Core,
    tenant: &Arc<Tenant>,
    Cost { prompt_tokens, tokens_max, priority }: Cost,
) -> Result<Permit, ApiError> {
    let metrics = &core.metrics;
    let reserved = tenant.reserve(prompt_tokens.saturating_add(tokens_max));
    let charge = reserved.map_err(|retry_at| {
        metrics.refused_tokens.add(1);
        tenant.refused.add(1);
        ApiError::rate_limited("tokens", retry_at.wait().unwrap_or(NEVER_AGAIN))
    })?;
    let class = class(tenant.priority, priority);
    let entry = Entry { charge, class, prompt_tokens, tokens_max };
    let timeout = core.options.queue_timeout;
    let admitted = core.admission.admit(entry, timeout).await;
    admitted.map_err(|refusal| {
        tenant.refused.add(1);
        match refusal {
            Refusal::Full(wait) => {
                metrics.refused_overloaded.add(1);
                ApiError::overloaded("too many requests wait; send the request later", wait)
            }
            Refusal::TimedOut(wait) => {
                metrics.refused_timeout.add(1);
                ApiError::queue_timeout(timeout, wait)
            }
            Refusal::Draining => {
                metrics.refused_draining.add(1);
                ApiError::draining()
            }
        }
    })
}

/// The class of a request: whoever may be served early may ask to be served late, and not the other way.
fn class(of_key: u8, asked: u8) -> u8 {
    of_key.max(asked)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_request_may_be_served_later_than_its_key_and_not_earlier() {
        assert_eq!((3, 3, 5), (class(3, 0), class(3, 3), class(3, 5)));
    }
}

//! Errors as clients are told.

use std::borrow::Cow;
use std::time::Duration;

use hyper::StatusCode;
use serde_json::json;

/// What a request is answered that cannot be served.
///
/// # Examples
///
/// ```
/// use streaming_server::wire::ApiError;
///
/// let error = ApiError::invalid("max_tokens", "`max_tokens` is 0, at least 1");
/// assert_eq!(400, error.status.as_u16());
/// assert!(error.to_json().contains(r#""param":"max_tokens""#));
/// ```
#[derive(Clone, Debug)]
pub struct ApiError {
    /// The status of the reply.
    pub status: StatusCode,
    /// Its kind, told as `type`.
    pub kind: &'static str,
    /// What is wrong, and what to do.
    pub message: Cow<'static, str>,
    /// The field that is wrong.
    pub param: Option<String>,
    /// When another attempt is worth while.
    pub retry_after: Option<Duration>,
    /// The methods that the route allows.
    pub allow: Option<&'static str>,
}

impl ApiError {
    fn new(status: StatusCode, kind: &'static str, message: impl Into<Cow<'static, str>>) -> Self {
        let message = message.into();
        Self { status, kind, message, param: None, retry_after: None, allow: None }
    }

    /// 400: a field is wrong.
    #[must_use]
    pub fn invalid(param: &str, message: impl Into<Cow<'static, str>>) -> Self {
        Self { param: Some(param.to_owned()), ..Self::malformed(message) }
    }

    /// 400: the request as a whole is wrong.
    #[must_use]
    pub fn malformed(message: impl Into<Cow<'static, str>>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, "invalid_request_error", message)
    }

    /// 400, 408, 413, 415 and their like.
    #[must_use]
    pub fn refused(status: StatusCode, message: impl Into<Cow<'static, str>>) -> Self {
        Self::new(status, "invalid_request_error", message)
    }

    /// 404: no such model.
    #[must_use]
    pub fn no_model(model: &str) -> Self {
        let shown: String = model.chars().take(128).collect();
        let message = format!("there is no model `{shown}`; GET /v1/models lists them");
        let error = Self::new(StatusCode::NOT_FOUND, "model_not_found", message);
        Self { param: Some("model".to_owned()), ..error }
    }

    /// 404: no such route.
    #[must_use]
    pub fn no_route() -> Self {
        let message = "there is nothing at this path; tokens are at /v1/completions and \
                       /v1/chat/completions";
        Self::new(StatusCode::NOT_FOUND, "not_found", message)
    }

    /// 405: the route has other methods.
    #[must_use]
    pub fn no_method(allow: &'static str) -> Self {
        let message = format!("this path allows {allow}");
        let error = Self::refused(StatusCode::METHOD_NOT_ALLOWED, message);
        Self { allow: Some(allow), ..error }
    }

    /// 401: a key is needed, and this is none.
    #[must_use]
    pub fn no_key() -> Self {
        let message = "a key is needed: send `Authorization: Bearer` and one that is known here";
        Self::new(StatusCode::UNAUTHORIZED, "invalid_api_key", message)
    }

    /// 429: the key has no more of its rate.
    #[must_use]
    pub fn rate_limited(what: &str, retry_after: Duration) -> Self {
        let millis = retry_after.as_millis();
        let message = format!("this key has no more {what} for {millis} ms");
        let error = Self::new(StatusCode::TOO_MANY_REQUESTS, "rate_limit_exceeded", message);
        Self { retry_after: Some(retry_after), ..error }
    }

    /// 500: not the client's fault.
    #[must_use]
    pub fn server(message: impl Into<Cow<'static, str>>) -> Self {
        Self::new(StatusCode::INTERNAL_SERVER_ERROR, "server_error", message)
    }

    /// 502: no upstream has a reply that makes sense.
    pub(crate) fn bad_gateway() -> Self {
        let message = "no upstream could serve the request; send it again";
        Self::new(StatusCode::BAD_GATEWAY, "server_error", message)
    }

    /// 503: all upstreams are left alone for a while.
    pub(crate) fn no_upstream(retry_after: Duration) -> Self {
        Self::overloaded("all upstreams fail; send the request later", retry_after)
    }

    /// 503: replies that are not streamed have to be held.
    pub(crate) fn no_room_for_reply() -> Self {
        Self::overloaded("there is no room for more replies", Duration::from_secs(1))
    }

    /// 503: too much at once.
    #[must_use]
    pub fn overloaded(message: impl Into<Cow<'static, str>>, retry_after: Duration) -> Self {
        Self::unavailable("overloaded", message, retry_after)
    }

    /// 503: it waited too long for its turn.
    #[must_use]
    pub fn queue_timeout(waited: Duration, retry_after: Duration) -> Self {
        let message = format!("no turn within {} ms; send the request later", waited.as_millis());
        Self::unavailable("queue_timeout", message, retry_after)
    }

    /// 429 or 503, because a fault was asked for.
    pub(crate) fn injected(status: StatusCode, retry_after: Duration) -> Self {
        let limited = status == StatusCode::TOO_MANY_REQUESTS;
        let kind = if limited { "rate_limit_exceeded" } else { "overloaded" };
        Self { retry_after: Some(retry_after), ..Self::new(status, kind, "an injected fault") }
    }

    /// 503: the server stops.
    #[must_use]
    pub fn draining() -> Self {
        let message = "the server stops; send the request to another one";
        Self::unavailable("draining", message, Duration::from_secs(1))
    }

    fn unavailable(
        kind: &'static str,
        message: impl Into<Cow<'static, str>>,
        retry_after: Duration,
    ) -> Self {
        let error = Self::new(StatusCode::SERVICE_UNAVAILABLE, kind, message);
        Self { retry_after: Some(retry_after), ..error }
    }

    /// The body of the reply, on one line.
    #[must_use]
    pub fn to_json(&self) -> String {
        json!({ "error": {
            "message": self.message, "type": self.kind, "param": self.param, "code": self.kind,
        } })
        .to_string()
    }
}

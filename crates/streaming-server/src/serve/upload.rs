//! Bodies of requests, within limits.

use http_body_util::BodyExt;
use hyper::StatusCode;
use hyper::body::{Body as _, Incoming};
use memory::Reservation;

use super::Core;
use crate::wire::ApiError;

/// Reads a body, and what it holds of the budget.
pub(super) async fn read(core: &Core, body: Incoming) -> Result<(Vec<u8>, Reservation), ApiError> {
    let timeout = core.options.body_timeout;
    let read = tokio::time::timeout(timeout, read_all(core, body)).await;
    read.unwrap_or_else(|_| {
        let message = format!("the body did not come within {} ms", timeout.as_millis());
        Err(ApiError::refused(StatusCode::REQUEST_TIMEOUT, message))
    })
}

async fn read_all(core: &Core, mut body: Incoming) -> Result<(Vec<u8>, Reservation), ApiError> {
    let bytes_max = core.options.body_bytes_max;
    let promised = body.size_hint().lower();
    check(promised, bytes_max)?;
    let mut held = core.held.try_reserve(0).map_err(|_| full())?;
    let mut bytes: Vec<u8> = Vec::new();
    while let Some(frame) = body.frame().await {
        let frame = frame.map_err(|_| ApiError::malformed("the body broke off"))?;
        let Ok(data) = frame.into_data() else { continue };
        let total = (bytes.len() + data.len()) as u64;
        check(total, bytes_max)?;
        if held.bytes() < total {
            let capacity = capacity(held.bytes(), total, promised);
            held.try_grow(capacity - held.bytes()).map_err(|_| full())?;
            bytes.reserve_exact(capacity as usize - bytes.len());
        }
        bytes.extend_from_slice(&data);
    }
    Ok((bytes, held))
}

/// What a body of so many bytes holds: at most twice what has come, whatever was promised.
fn capacity(before: u64, total: u64, promised: u64) -> u64 {
    let doubled = before.saturating_mul(2);
    let doubled = if promised == 0 { doubled } else { doubled.min(promised) };
    doubled.max(total)
}

fn check(bytes: u64, bytes_max: u64) -> Result<(), ApiError> {
    if bytes <= bytes_max {
        return Ok(());
    }
    let message = format!("the body has {bytes} B or more, at most {bytes_max} B");
    Err(ApiError::refused(StatusCode::PAYLOAD_TOO_LARGE, message))
}

fn full() -> ApiError {
    ApiError::overloaded("there is no room for more bodies", super::generate::RETRY_AFTER)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_body_holds_at_most_twice_what_has_come() {
        // What holds so much before, what has come, what was promised.
        assert_eq!(9, capacity(0, 9, 9));
        assert_eq!(1, capacity(0, 1, 8 << 20));
        assert_eq!(200, capacity(100, 101, 8 << 20));
        assert_eq!(150, capacity(100, 101, 150));
        assert_eq!(200, capacity(100, 101, 0));
    }
}

//! Bodies of requests, within limits.

use http_body_util::BodyExt;
use hyper::StatusCode;
use hyper::body::{Body as _, Incoming};
use memory::Reservation;

use super::Core;
use crate::wire::ApiError;

/// By so much the reservation of a body grows whose length is not known.
const STEP_BYTES: u64 = 64 << 10;

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
    let mut held = core.held.try_reserve(promised.max(1)).map_err(|_| full())?;
    let mut bytes = Vec::new();
    while let Some(frame) = body.frame().await {
        let frame = frame.map_err(|_| ApiError::malformed("the body broke off"))?;
        let Ok(data) = frame.into_data() else { continue };
        let total = (bytes.len() + data.len()) as u64;
        check(total, bytes_max)?;
        if held.bytes() < total {
            held.try_grow((total - held.bytes()).max(STEP_BYTES)).map_err(|_| full())?;
        }
        if bytes.is_empty() {
            bytes.reserve_exact((promised as usize).max(data.len()));
        }
        bytes.extend_from_slice(&data);
    }
    Ok((bytes, held))
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

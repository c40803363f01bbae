//! Bodies of requests that take their time, over pipes in memory.

use std::time::Duration;

use hyper::Request;
use hyper::body::Bytes;
use pool::http::Error;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::time::Instant;

use crate::http_races::client;

const LIMIT: Duration = Duration::from_secs(5);

/// Uploads so much to a server that takes a quarter of it each 4 s, for so many quarters; it replies when it
/// has all of it. Returns the outcome and the seconds that it took.
async fn upload(body_bytes: usize, quarters: usize) -> (Result<u16, Error>, u64) {
    let (client, mut far_ends) = client();
    let request = Request::put("http://a/").body(Bytes::from(vec![7; body_bytes]).into()).unwrap();
    let start = Instant::now();
    let server = async {
        let mut far = far_ends.recv().await.unwrap();
        for _ in 0..quarters {
            tokio::time::sleep(Duration::from_secs(4)).await;
            far.read_exact(&mut vec![0; body_bytes / 4]).await.unwrap();
        }
        if quarters == 4 {
            far.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n").await.unwrap();
        }
        far
    };
    let (reply, _far) = tokio::join!(client.send(request), server);
    (reply.map(|reply| reply.status().as_u16()), start.elapsed().as_secs())
}

#[tokio::test(start_paused = true)]
async fn a_body_that_is_under_way_may_take_longer_than_a_head() {
    let (reply, seconds) = upload(256 << 10, 4).await;
    assert_eq!((200, 16), (reply.unwrap(), seconds));
}

#[tokio::test(start_paused = true)]
async fn a_body_that_is_not_taken_is_an_error() {
    let (reply, seconds) = upload(256 << 10, 2).await;
    assert!(matches!(reply, Err(Error::HeadTimedOut { after: LIMIT, .. })), "{reply:?}");
    assert_eq!(15, seconds, "the second look that found more sent was after 10 s");
}

#[tokio::test(start_paused = true)]
async fn a_short_body_leaves_a_head_no_more_time() {
    let (reply, seconds) = upload(64 << 10, 0).await;
    assert!(matches!(reply, Err(Error::HeadTimedOut { after: LIMIT, .. })), "{reply:?}");
    assert_eq!(5, seconds);
}

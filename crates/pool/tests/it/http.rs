//! The HTTP client against servers that misbehave: P3, P4 and P12.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use http_body_util::{BodyExt, Full};
use hyper::body::{Body as _, Bytes};
use hyper::{Method, Request, Response};
use hyper_util::client::legacy::connect::{Connected, Connection, HttpConnector, HttpInfo};
use hyper_util::rt::TokioIo;
use pool::http::{Body, BodyError, Client, ClientOptions, Error, Once, wrap};
use pool::{CloseReason, GetError, Options};
use tokio::net::TcpStream;

use crate::http_server::{Answer, Server, Then};
use crate::support::settle;

const MOMENT: Duration = Duration::from_millis(20);

pub(crate) fn request(method: Method, url: &str) -> Request<Full<Bytes>> {
    Request::builder().method(method).uri(url).body(Full::default()).unwrap()
}

pub(crate) fn get(url: &str) -> Request<Full<Bytes>> {
    request(Method::GET, url)
}

async fn text(reply: Response<Body>) -> String {
    let body = reply.into_body().collect().await.unwrap().to_bytes();
    String::from_utf8(body.to_vec()).unwrap()
}

/// Waits for what other tasks and the kernel will bring about.
pub(crate) async fn eventually(what: &str, mut holds: impl FnMut() -> bool) {
    let wait = async {
        while !holds() {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    };
    assert!(tokio::time::timeout(Duration::from_secs(10), wait).await.is_ok(), "never: {what}");
}

fn client() -> Client {
    Client::new(ClientOptions::default())
}

#[tokio::test]
async fn a_body_read_to_its_end_gives_its_connection_back() {
    let server = Server::start(|_| Answer::ok("hello", Then::KeepAlive)).await;
    let client = client();
    for turn in 0..3 {
        let reply = client.send(get(&server.url("/"))).await.unwrap();
        assert_eq!((200, turn != 0), (reply.status().as_u16(), reply.body().reused()));
        assert_eq!("hello", text(reply).await);
    }
    assert_eq!(1, server.connections());
    assert!(client.pool().stats().adds_up());
}

#[tokio::test]
async fn the_head_is_there_before_the_body() {
    let bytes = "HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\nhalf";
    let server = Server::start(move |_| Answer::new(bytes, Then::Hang)).await;
    let reply = client().send(get(&server.url("/"))).await.unwrap();
    assert_eq!(Some(10), reply.body().size_hint().exact());
}

#[tokio::test]
async fn a_body_without_bytes_gives_its_connection_back_at_once() {
    let server = Server::start(|_| Answer::ok("", Then::KeepAlive)).await;
    let client = client();
    let first = client.send(get(&server.url("/"))).await.unwrap();
    eventually("idle", || client.pool().stats().idle == 1).await;
    drop(first);
    assert!(client.send(get(&server.url("/"))).await.unwrap().body().reused());
}

#[tokio::test]
async fn a_body_dropped_midway_closes_its_connection() {
    let body = "x".repeat(1 << 20);
    let server = Server::start(move |_| Answer::ok(&body, Then::KeepAlive)).await;
    let client = client();
    let mut reply = client.send(get(&server.url("/"))).await.unwrap();
    reply.body_mut().frame().await.unwrap().unwrap();
    drop(reply);
    eventually("closed", || client.pool().stats().live() == 0).await;
    assert_eq!(1, client.pool().stats().closed.by(CloseReason::Discarded));
}

#[tokio::test]
async fn a_connection_that_the_server_will_close_is_not_kept() {
    let bytes = "HTTP/1.1 200 OK\r\nconnection: close\r\ncontent-length: 2\r\n\r\nok";
    let server = Server::start(move |_| Answer::new(bytes, Then::Hang)).await;
    let client = client();
    assert_eq!("ok", text(client.send(get(&server.url("/"))).await.unwrap()).await);
    eventually("closed", || client.pool().stats().live() == 0).await;
}

#[track_caller]
fn check_leaves(then: Then, extra: &'static str) -> impl Future<Output = ()> {
    let reply = format!("HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok{extra}");
    async move {
        let server = Server::start(move |seen| match seen.connection {
            0 => Answer::new(reply.clone(), then.clone()),
            _ => Answer::ok("second", Then::KeepAlive),
        })
        .await;
        let client = client();
        assert_eq!("ok", text(client.send(get(&server.url("/"))).await.unwrap()).await);
        eventually("the idle one leaves", || client.pool().stats().live() == 0).await;
        assert_eq!("second", text(client.send(get(&server.url("/"))).await.unwrap()).await);
    }
}

#[tokio::test]
async fn an_idle_connection_that_the_server_closes_leaves_at_once() {
    check_leaves(Then::Close, "").await;
}

#[tokio::test]
async fn an_idle_connection_that_the_server_half_closes_leaves_at_once() {
    check_leaves(Then::HalfClose, "").await;
}

#[tokio::test]
async fn an_idle_connection_that_the_server_resets_leaves_at_once() {
    check_leaves(Then::Reset, "").await;
}

#[tokio::test]
async fn unasked_bytes_never_become_a_reply() {
    let forged = "HTTP/1.1 200 OK\r\ncontent-length: 6\r\n\r\nforged";
    check_leaves(Then::KeepAlive, forged).await;
    check_leaves(Then::KeepAlive, "x").await;
}

#[tokio::test]
async fn a_server_that_dies_in_the_body_is_an_error_and_no_second_request() {
    let bytes = "HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\nhalf";
    let server = Server::start(move |_| Answer::new(bytes, Then::Close)).await;
    let client = client();
    let reply = client.send(get(&server.url("/"))).await.unwrap();
    let error = reply.into_body().collect().await.unwrap_err();
    assert!(matches!(error, BodyError::Broken(_)), "{error:?}");
    eventually("closed", || client.pool().stats().live() == 0).await;
    assert_eq!(1, server.requests());
}

/// Answers the first request of the first connection and treats the second by `second`; further
/// connections by `further`.
async fn check_retry(
    request: Request<Full<Bytes>>,
    second: Answer,
    further: Answer,
) -> (Result<String, Error>, usize, u64) {
    let server = Server::start(move |seen| match (seen.connection, seen.request) {
        (0, 0) => Answer::ok("first", Then::KeepAlive),
        (0, _) => second.clone(),
        _ => further.clone(),
    })
    .await;
    let client = client();
    assert_eq!("first", text(client.send(get(&server.url("/"))).await.unwrap()).await);
    let (mut head, body) = request.into_parts();
    head.uri = server.url("/again").parse().unwrap();
    let result = match client.send(Request::from_parts(head, body)).await {
        Ok(reply) => Ok(text(reply).await),
        Err(error) => Err(error),
    };
    assert!(client.pool().stats().adds_up());
    (result, server.requests(), client.retries())
}

fn nothing_then(then: Then) -> Answer {
    Answer::new("", then)
}

#[tokio::test]
async fn a_used_connection_that_fails_silently_is_replaced_once() {
    for then in [Then::Close, Then::Reset, Then::HalfClose] {
        let good = Answer::ok("second", Then::KeepAlive);
        let (result, requests, retries) = check_retry(get("/"), nothing_then(then), good).await;
        assert_eq!(("second", 3, 1), (result.unwrap().as_str(), requests, retries));
    }
}

#[tokio::test]
async fn a_request_is_repeated_to_the_byte() {
    let heads = Arc::new(Mutex::new(Vec::new()));
    let heard = Arc::clone(&heads);
    let server = Server::start(move |seen| {
        heard.lock().unwrap().push(seen.head);
        match (seen.connection, seen.request) {
            (0, 1) => nothing_then(Then::Close),
            _ => Answer::ok("good", Then::KeepAlive),
        }
    })
    .await;
    let client = client();
    assert_eq!("good", text(client.send(get(&server.url("/"))).await.unwrap()).await);
    let mut request = request(Method::PUT, &server.url("/a?b=c"));
    request.headers_mut().insert("x-mine", "1".parse().unwrap());
    *request.body_mut() = Full::from("body");
    assert_eq!("good", text(client.send(request).await.unwrap()).await);
    let heads = heads.lock().unwrap();
    assert_eq!((3, 1, &heads[1]), (heads.len(), client.retries(), &heads[2]));
    assert!(heads[2].starts_with("PUT /a?b=c ") && heads[2].contains("x-mine: 1"), "{}", heads[2]);
}

#[tokio::test]
async fn a_second_failure_reaches_the_caller() {
    let (first, second) = (nothing_then(Then::Close), nothing_then(Then::Close));
    let (result, requests, retries) = check_retry(get("/"), first, second).await;
    assert!(matches!(result, Err(Error::Exchange { .. })), "{result:?}");
    assert_eq!((3, 1), (requests, retries));
}

/// Premise: the server has given up all idle connections, and none of them knows yet.
#[tokio::test]
async fn the_second_request_goes_over_a_new_connection_though_others_are_idle() {
    let server = Server::start(|seen| match (seen.connection, seen.request) {
        (0 | 1, 0) | (2, _) => Answer::ok("good", Then::KeepAlive),
        _ => nothing_then(Then::Close),
    })
    .await;
    let client = client();
    let first = client.send(get(&server.url("/"))).await.unwrap();
    let second = client.send(get(&server.url("/"))).await.unwrap();
    assert_eq!(("good", "good"), (&*text(first).await, &*text(second).await));
    eventually("both are idle", || client.pool().stats().idle == 2).await;
    assert_eq!("good", text(client.send(get(&server.url("/"))).await.unwrap()).await);
    assert_eq!((3, 1), (server.connections(), client.retries()));
}

#[tokio::test]
async fn a_request_that_must_not_be_repeated_is_not() {
    let good = Answer::ok("second", Then::KeepAlive);
    let (result, requests, retries) =
        check_retry(request(Method::POST, "/"), nothing_then(Then::Close), good).await;
    assert!(matches!(result, Err(Error::Exchange { .. })), "{result:?}");
    assert_eq!((2, 0), (requests, retries));
}

#[tokio::test]
async fn a_request_with_an_idempotency_key_may_be_repeated() {
    let mut post = request(Method::POST, "/");
    post.headers_mut().insert("idempotency-key", "1".parse().unwrap());
    *post.body_mut() = Full::from("body");
    let good = Answer::ok("second", Then::KeepAlive);
    let (result, _, retries) = check_retry(post, nothing_then(Then::Close), good).await;
    assert_eq!(("second", 1), (result.unwrap().as_str(), retries));
}

#[tokio::test]
async fn a_single_byte_of_a_reply_forbids_the_second_request() {
    for then in [Then::Close, Then::Reset] {
        let good = Answer::ok("second", Then::KeepAlive);
        let (result, requests, retries) = check_retry(get("/"), Answer::new("H", then), good).await;
        assert!(result.is_err(), "{result:?}");
        assert_eq!((2, 0), (requests, retries));
    }
}

#[tokio::test]
async fn a_fresh_connection_that_fails_is_not_replaced() {
    let server = Server::start(|_| nothing_then(Then::Close)).await;
    let client = client();
    assert!(matches!(client.send(get(&server.url("/"))).await, Err(Error::Exchange { .. })));
    assert_eq!((1, 0), (server.requests(), client.retries()));
}

#[tokio::test]
async fn a_body_that_is_sent_once_is_not_sent_twice() {
    let server = Server::start(|seen| match seen.request {
        0 => Answer::ok("first", Then::KeepAlive),
        _ => nothing_then(Then::Close),
    })
    .await;
    let client: Client<Once<Full<Bytes>>> = Client::new(ClientOptions::default());
    let put = || Request::put(server.url("/")).body(Once(Full::from("body"))).unwrap();
    drop(client.send(put()).await.unwrap().into_body().collect().await.unwrap());
    assert!(client.send(put()).await.is_err());
    assert_eq!((2, 0), (server.requests(), client.retries()));
}

/// A request body that does not come to its end.
struct Endless;

impl hyper::body::Body for Endless {
    type Data = Bytes;
    type Error = std::convert::Infallible;

    fn poll_frame(
        self: std::pin::Pin<&mut Self>,
        _: &mut std::task::Context<'_>,
    ) -> std::task::Poll<Option<Result<hyper::body::Frame<Bytes>, Self::Error>>> {
        std::task::Poll::Pending
    }
}

/// Premise: the server replies before it has read all of the request.
#[tokio::test]
async fn a_connection_that_still_sends_is_not_lent_again() {
    let server = Server::start(|_| Answer::ok("early", Then::KeepAlive)).await;
    let client: Client<Once<Endless>> = Client::new(ClientOptions::default());
    for connections in 1..=2 {
        let request = Request::put(server.url("/")).body(Once(Endless)).unwrap();
        let reply = client.send(request).await.unwrap();
        assert!(!reply.body().reused());
        reply.into_body().collect().await.unwrap();
        assert_eq!((connections, 0), (server.connections(), client.retries()));
    }
}

/// A request body that ends when its sender says so.
struct Late(tokio::sync::oneshot::Receiver<()>);

impl hyper::body::Body for Late {
    type Data = Bytes;
    type Error = std::convert::Infallible;

    fn poll_frame(
        mut self: std::pin::Pin<&mut Self>,
        cx: &mut std::task::Context<'_>,
    ) -> std::task::Poll<Option<Result<hyper::body::Frame<Bytes>, Self::Error>>> {
        std::pin::Pin::new(&mut self.0).poll(cx).map(|_| None)
    }
}

/// Premise: as above, but the request comes to its end soon after the reply has.
#[tokio::test]
async fn a_connection_that_still_sends_is_waited_for() {
    let server = Server::start(|_| Answer::ok("early", Then::Hang)).await;
    let client: Client<Once<Late>> = Client::new(ClientOptions::default());
    let (end, ends) = tokio::sync::oneshot::channel();
    let request = Request::put(server.url("/")).body(Once(Late(ends))).unwrap();
    client.send(request).await.unwrap().into_body().collect().await.unwrap();
    settle().await;
    assert_eq!((1, 0), (client.pool().stats().leased, client.pool().stats().idle));
    end.send(()).unwrap();
    eventually("given back", || client.pool().stats().idle == 1).await;
}

#[tokio::test]
async fn a_head_that_does_not_come_is_an_error() {
    let server = Server::start(|_| nothing_then(Then::Hang)).await;
    let options = ClientOptions { head_timeout: Some(MOMENT), ..ClientOptions::default() };
    let client: Client = Client::new(options);
    let error = client.send(get(&server.url("/"))).await.unwrap_err();
    assert!(matches!(error, Error::HeadTimedOut { after: MOMENT, .. }), "{error:?}");
    eventually("closed", || client.pool().stats().live() == 0).await;
}

#[tokio::test]
async fn a_head_that_is_too_long_is_an_error() {
    let long = "x".repeat(65 << 10);
    let reply = format!("HTTP/1.1 200 OK\r\nlong: {long}\r\ncontent-length: 0\r\n\r\n");
    let server = Server::start(move |_| Answer::new(reply.clone(), Then::KeepAlive)).await;
    let error = client().send(get(&server.url("/"))).await.unwrap_err();
    assert!(matches!(error, Error::Exchange { .. }), "{error:?}");
}

#[tokio::test]
async fn a_body_that_stalls_is_an_error() {
    let bytes = "HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\nhalf";
    let server = Server::start(move |_| Answer::new(bytes, Then::Hang)).await;
    let options = ClientOptions { body_timeout: Some(MOMENT), ..ClientOptions::default() };
    let client: Client = Client::new(options);
    let mut body = client.send(get(&server.url("/"))).await.unwrap().into_body();
    let frame = body.frame().await.unwrap().unwrap();
    assert_eq!("half", frame.into_data().unwrap());
    let error = body.frame().await.unwrap().unwrap_err();
    assert!(matches!(error, BodyError::Stalled { after: MOMENT }), "{error:?}");
}

/// Counted here: the server hears of an end some time after it, so its own count may be one too high.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_cap_holds_over_http() {
    let server = Server::start(|seen| match seen.request {
        3 => Answer::ok("bye", Then::Close),
        _ => Answer::ok("hello", Then::KeepAlive),
    })
    .await;
    let pool = Options { connections_max: 4, ..ClientOptions::default().pool };
    let client: Client = Client::new(ClientOptions { pool, ..ClientOptions::default() });
    let mut tasks = tokio::task::JoinSet::new();
    for turn in 0..200 {
        let (client, url) = (client.clone(), server.url("/"));
        tasks.spawn(async move {
            let mut reply = client.send(get(&url)).await.unwrap();
            assert!(client.pool().stats().live() <= 4);
            if turn % 10 == 0 {
                return;
            }
            while reply.body_mut().frame().await.is_some() {}
        });
    }
    assert_eq!(200, tasks.join_all().await.len());
    assert!(client.pool().stats().adds_up());
}

#[tokio::test]
async fn host_and_target_are_those_of_the_origin() {
    let server = Server::start(|seen| Answer::ok(&seen.head, Then::KeepAlive)).await;
    let client = client();
    let head = text(client.send(get(&server.url("/a?b"))).await.unwrap()).await;
    assert!(head.starts_with("GET /a?b HTTP/1.1\r\n"), "{head}");
    assert!(head.contains(&format!("host: {}\r\n", server.address)), "{head}");
    let head = text(client.send(get(&format!("http://{}", server.address))).await.unwrap()).await;
    assert!(head.starts_with("GET / HTTP/1.1\r\n"), "{head}");
}

#[tokio::test]
async fn requests_that_cannot_be_sent_are_refused() {
    let client = client();
    for url in ["/relative", "ftp://a/", "http://user:secret@a/"] {
        let error = client.send(get(url)).await.unwrap_err();
        assert!(matches!(error, Error::InvalidRequest(_)), "{url}: {error:?}");
    }
    assert_eq!(0, client.pool().stats().connects_failed);
}

#[tokio::test]
async fn a_refused_connection_names_the_origin() {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/", listener.local_addr().unwrap());
    drop(listener);
    let error = client().send(get(&url)).await.unwrap_err();
    assert!(matches!(&error, Error::NoConnection { source: GetError::Connect(_), .. }));
    assert_eq!(format!("no connection to {}", url.trim_end_matches('/')), error.to_string());
}

/// What a layer below TLS tells about its connection.
#[derive(Clone, Debug, PartialEq)]
struct Label(&'static str);

struct Labeled(TokioIo<TcpStream>);

impl Connection for Labeled {
    fn connected(&self) -> Connected {
        self.0.connected().extra(Label("layer"))
    }
}

impl hyper::rt::Read for Labeled {
    fn poll_read(
        mut self: std::pin::Pin<&mut Self>,
        cx: &mut std::task::Context<'_>,
        buf: hyper::rt::ReadBufCursor<'_>,
    ) -> std::task::Poll<std::io::Result<()>> {
        std::pin::Pin::new(&mut self.0).poll_read(cx, buf)
    }
}

impl hyper::rt::Write for Labeled {
    fn poll_write(
        mut self: std::pin::Pin<&mut Self>,
        cx: &mut std::task::Context<'_>,
        buf: &[u8],
    ) -> std::task::Poll<std::io::Result<usize>> {
        std::pin::Pin::new(&mut self.0).poll_write(cx, buf)
    }

    fn poll_flush(
        mut self: std::pin::Pin<&mut Self>,
        cx: &mut std::task::Context<'_>,
    ) -> std::task::Poll<std::io::Result<()>> {
        std::pin::Pin::new(&mut self.0).poll_flush(cx)
    }

    fn poll_shutdown(
        mut self: std::pin::Pin<&mut Self>,
        cx: &mut std::task::Context<'_>,
    ) -> std::task::Poll<std::io::Result<()>> {
        std::pin::Pin::new(&mut self.0).poll_shutdown(cx)
    }
}

#[tokio::test]
async fn a_layer_below_speaks_through_the_reply_s_extensions() {
    let server = Server::start(|_| Answer::ok("hello", Then::KeepAlive)).await;
    let dial = wrap(HttpConnector::new(), Labeled);
    let client: Client = Client::with_connector(dial, ClientOptions::default());
    let reply = client.send(get(&server.url("/"))).await.unwrap();
    assert_eq!(Some(&Label("layer")), reply.extensions().get());
    let info: &HttpInfo = reply.extensions().get().unwrap();
    assert_eq!(server.address, info.remote_addr());
}

//! Ways through a proxy.

use std::iter::successors;

use http_body_util::BodyExt;
use hyper::Uri;
use pool::http::{Client, ClientOptions, Error, Proxies};

use crate::http::get;
use crate::http_server::{Answer, Server, Then};

async fn check(proxies: impl Fn(&str) -> Proxies, url: &str, expected: &[&str]) {
    let server = Server::start(|seen| Answer::ok(&seen.head, Then::KeepAlive)).await;
    let proxies = proxies(&server.address.to_string());
    let client: Client = Client::new(ClientOptions { proxies, ..ClientOptions::default() });
    let url = url.replace("SERVER", &server.address.to_string());
    let body = client.send(get(&url)).await.unwrap().into_body();
    let head = String::from_utf8(body.collect().await.unwrap().to_bytes().to_vec()).unwrap();
    for line in expected {
        assert!(head.contains(&format!("{line}\r\n")), "`{line}` in {head}");
    }
}

fn http_proxy(uri: &str) -> Proxies {
    Proxies { http: Some(uri.parse().unwrap()), ..Proxies::default() }
}

#[tokio::test]
async fn plain_requests_are_forwarded_in_absolute_form() {
    let through = |address: &str| http_proxy(&format!("http://{address}"));
    let expected = ["GET http://far.example/a?b HTTP/1.1", "host: far.example"];
    check(through, "http://far.example/a?b", &expected).await;
}

#[tokio::test]
async fn the_proxy_gets_its_credentials() {
    let through = |address: &str| http_proxy(&format!("http://Aladdin:opensesame@{address}"));
    let expected = ["proxy-authorization: Basic QWxhZGRpbjpvcGVuc2VzYW1l"];
    check(through, "http://far.example/", &expected).await;
}

#[tokio::test]
async fn exempt_hosts_are_reached_directly() {
    let around = |_: &str| Proxies {
        http: Some(Uri::from_static("http://127.0.0.1:1")),
        no_proxy: "127.0.0.1".to_owned(),
        ..Proxies::default()
    };
    check(around, "http://SERVER/a", &["GET /a HTTP/1.1"]).await;
}

#[tokio::test]
async fn a_star_exempts_addresses_too() {
    let around = |_: &str| Proxies {
        no_proxy: "far.example, *".to_owned(),
        ..http_proxy("http://127.0.0.1:1")
    };
    check(around, "http://SERVER/a", &["GET /a HTTP/1.1"]).await;
}

#[tokio::test]
async fn a_proxy_that_is_not_there_is_told_without_its_credentials() {
    let proxies = http_proxy("http://Aladdin:opensesame@127.0.0.1:1");
    let client: Client = Client::new(ClientOptions { proxies, ..ClientOptions::default() });
    let error = client.send(get("http://far.example/")).await.unwrap_err();
    let causes = successors(Some(&error as &dyn std::error::Error), |error| error.source());
    let told: Vec<_> = causes.map(ToString::to_string).collect();
    assert_eq!("no connection to http://far.example", told[0]);
    assert!(told.iter().any(|cause| cause == "no way through the proxy 127.0.0.1:1"), "{told:?}");
    assert!(!told.concat().contains("opensesame"));
}

/// The origin would answer who came to it directly.
#[tokio::test]
async fn a_proxy_that_cannot_be_used_is_never_passed_by() {
    let server = Server::start(|seen| Answer::ok(&seen.head, Then::KeepAlive)).await;
    let url = format!("http://{}/", server.address);
    for proxy in ["socks5://127.0.0.1:1", "sock5://127.0.0.1:1", "ftp://127.0.0.1:1", "/foo"] {
        let proxies = http_proxy(proxy);
        assert!(proxies.check().is_err(), "{proxy}");
        let https = Proxies { https: proxies.http.clone(), ..Proxies::default() };
        assert!(https.check().is_err(), "{proxy}");
        let client: Client = Client::new(ClientOptions { proxies, ..ClientOptions::default() });
        let error = client.send(get(&url)).await.unwrap_err();
        assert!(matches!(error, Error::NoConnection { .. }), "{error:?}");
    }
    for proxy in ["http://127.0.0.1:1", "HTTP://a:b@proxy.example", "127.0.0.1:1"] {
        assert_eq!(Ok(()), http_proxy(proxy).check(), "{proxy}");
    }
}

//! TLS against servers whose certificates come from an authority of our own.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use http_body_util::BodyExt;
use hyper::Uri;
use pool::GetError;
use pool::http::{BodyError, Client, ClientOptions, Error, Proxies, Tls, TlsError};
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair, date_time_ymd};
use rustls::pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer};
use rustls::{HandshakeKind, ServerConfig};
use tokio::io::AsyncWriteExt;
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;

use crate::http::get;
use crate::http_server::read_head;

const KEEPS: &[u8] = b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok";
const CLOSES: &[u8] = b"HTTP/1.1 200 OK\r\nconnection: close\r\ncontent-length: 2\r\n\r\nok";
const WITHOUT_LENGTH: &[u8] = b"HTTP/1.1 200 OK\r\nconnection: close\r\n\r\nok";

/// An authority and the file that names it.
struct Authority {
    issuer: CertifiedIssuer<'static, KeyPair>,
    file: tempfile::NamedTempFile,
}

impl Authority {
    fn new() -> Self {
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let issuer = CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap();
        let file = tempfile::NamedTempFile::new().unwrap();
        std::io::Write::write_all(&mut file.as_file(), issuer.pem().as_bytes()).unwrap();
        Self { issuer, file }
    }

    fn tls(&self) -> Tls {
        Tls::with_ca_file(self.file.path()).unwrap()
    }

    fn client(&self) -> Client {
        client(self.tls())
    }

    fn server_config(&self, params: &CertificateParams) -> Arc<ServerConfig> {
        let key = KeyPair::generate().unwrap();
        let certificate = params.signed_by(&key, &self.issuer).unwrap();
        let key = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(key.serialize_der()));
        let ring = Arc::new(rustls::crypto::ring::default_provider());
        let config = ServerConfig::builder_with_provider(ring)
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(vec![certificate.der().clone()], key)
            .unwrap();
        Arc::new(config)
    }
}

fn for_names(names: &[&str]) -> CertificateParams {
    CertificateParams::new(names.iter().map(|&name| name.to_owned()).collect::<Vec<_>>()).unwrap()
}

fn client(tls: Tls) -> Client {
    Client::new(ClientOptions { tls: Some(tls), ..ClientOptions::default() })
}

/// A server of `https`; says how each connection was greeted.
struct Server {
    address: SocketAddr,
    handshakes: Arc<Mutex<Vec<HandshakeKind>>>,
}

impl Server {
    async fn start(config: Arc<ServerConfig>, reply: &'static [u8], says_goodbye: bool) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let handshakes = Arc::<Mutex<Vec<HandshakeKind>>>::default();
        let seen = handshakes.clone();
        let acceptor = TlsAcceptor::from(config);
        tokio::spawn(async move {
            while let Ok((tcp, _)) = listener.accept().await {
                let (acceptor, seen) = (acceptor.clone(), seen.clone());
                tokio::spawn(async move {
                    let Ok(mut stream) = acceptor.accept(tcp).await else { return };
                    seen.lock().unwrap().extend(stream.get_ref().1.handshake_kind());
                    drop(serve(&mut stream, reply).await);
                    if says_goodbye {
                        drop(stream.shutdown().await);
                    }
                });
            }
        });
        Self { address, handshakes }
    }

    fn url(&self) -> String {
        format!("https://localhost:{}/", self.address.port())
    }
}

async fn serve(stream: &mut TlsStream<TcpStream>, reply: &[u8]) -> std::io::Result<()> {
    loop {
        read_head(stream).await?;
        stream.write_all(reply).await?;
        stream.flush().await?;
        if reply != KEEPS {
            return Ok(());
        }
    }
}

async fn ask(client: &Client, url: &str) -> Result<(bool, String), Error> {
    let reply = client.send(get(url)).await?;
    let reused = reply.body().reused();
    let body = reply.into_body().collect().await.unwrap().to_bytes();
    Ok((reused, String::from_utf8(body.to_vec()).unwrap()))
}

/// The innermost reason why there is no connection.
fn reason(result: Result<(bool, String), Error>) -> String {
    let error = result.unwrap_err();
    let Error::NoConnection { source: GetError::Connect(source), .. } = &error else {
        panic!("{error:?}")
    };
    let causes = std::iter::successors(Some(&**source as &dyn std::error::Error), |e| e.source());
    causes.map(ToString::to_string).collect::<Vec<_>>().join(": ")
}

#[tokio::test]
async fn a_server_of_the_named_authority_is_trusted() {
    let authority = Authority::new();
    let config = authority.server_config(&for_names(&["localhost", "127.0.0.1"]));
    let server = Server::start(config, KEEPS, true).await;
    let client = authority.client();
    assert_eq!((false, "ok".to_owned()), ask(&client, &server.url()).await.unwrap());
    assert_eq!((true, "ok".to_owned()), ask(&client, &server.url()).await.unwrap());
    let by_address = format!("https://{}/", server.address);
    assert_eq!("ok", ask(&client, &by_address).await.unwrap().1);
}

#[tokio::test]
async fn a_server_of_an_unknown_authority_is_refused() {
    let authority = Authority::new();
    let server =
        Server::start(authority.server_config(&for_names(&["localhost"])), KEEPS, true).await;
    let reason = reason(ask(&Authority::new().client(), &server.url()).await);
    assert!(reason.contains("invalid peer certificate"), "{reason}");
    assert!(server.handshakes.lock().unwrap().is_empty());
}

#[tokio::test]
async fn a_server_of_another_name_is_refused() {
    let authority = Authority::new();
    let config = authority.server_config(&for_names(&["elsewhere.example"]));
    let server = Server::start(config, KEEPS, true).await;
    let reason = reason(ask(&authority.client(), &server.url()).await);
    assert!(reason.contains("not valid for name"), "{reason}");
}

#[tokio::test]
async fn an_expired_certificate_is_refused() {
    let authority = Authority::new();
    let mut params = for_names(&["localhost"]);
    params.not_before = date_time_ymd(2001, 1, 1);
    params.not_after = date_time_ymd(2002, 1, 1);
    let server = Server::start(authority.server_config(&params), KEEPS, true).await;
    let reason = reason(ask(&authority.client(), &server.url()).await);
    assert!(reason.contains("expired"), "{reason}");
}

#[tokio::test]
async fn the_second_connection_resumes_the_session_of_the_first() {
    let authority = Authority::new();
    let config = authority.server_config(&for_names(&["localhost"]));
    let server = Server::start(config, CLOSES, true).await;
    let tls = authority.tls();
    for _ in 0..2 {
        // Another client each time: sessions are shared by the clones of one `Tls`.
        assert!(!ask(&client(tls.clone()), &server.url()).await.unwrap().0);
    }
    let handshakes = server.handshakes.lock().unwrap().clone();
    assert_eq!(vec![HandshakeKind::Full, HandshakeKind::Resumed], handshakes);
}

async fn check_without_length(says_goodbye: bool) -> Result<(), BodyError> {
    let authority = Authority::new();
    let config = authority.server_config(&for_names(&["localhost"]));
    let server = Server::start(config, WITHOUT_LENGTH, says_goodbye).await;
    let reply = authority.client().send(get(&server.url())).await.unwrap();
    let body = reply.into_body().collect().await?.to_bytes();
    assert_eq!("ok", body);
    Ok(())
}

#[tokio::test]
async fn a_body_without_length_ends_by_goodbye_or_was_cut_off() {
    assert!(check_without_length(true).await.is_ok());
    let cut_off = check_without_length(false).await;
    assert!(matches!(cut_off, Err(BodyError::Broken(_))), "{cut_off:?}");
}

#[tokio::test]
async fn without_tls_there_is_no_https() {
    let client: Client = Client::new(ClientOptions::default());
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("https://{}/", listener.local_addr().unwrap());
    assert!(reason(ask(&client, &url).await).contains("no TLS"));
}

#[test]
fn files_that_hold_no_authority_are_refused() {
    let empty = tempfile::NamedTempFile::new().unwrap();
    assert!(matches!(Tls::with_ca_file(empty.path()), Err(TlsError::CaFile { .. })));
    let nowhere = std::path::Path::new("/nonexistent/ca.pem");
    assert!(matches!(Tls::with_ca_file(nowhere), Err(TlsError::CaFile { .. })));
}

/// A proxy that opens a tunnel to whatever it is asked for, if the credentials are right.
async fn tunnel_proxy() -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        while let Ok((mut near, _)) = listener.accept().await {
            tokio::spawn(async move {
                let head = read_head(&mut near).await?;
                let target = head.split(' ').nth(1).unwrap_or_default().to_owned();
                let knows = head.to_lowercase().contains("proxy-authorization: basic");
                if !head.starts_with("CONNECT ") || !knows {
                    return near.write_all(b"HTTP/1.1 407 Who Are You\r\n\r\n").await;
                }
                let mut far = TcpStream::connect(target).await?;
                near.write_all(b"HTTP/1.1 200 OK\r\n\r\n").await?;
                tokio::io::copy_bidirectional(&mut near, &mut far).await.map(drop)
            });
        }
    });
    address
}

async fn ask_through(proxy: String) -> Result<(bool, String), Error> {
    let authority = Authority::new();
    let config = authority.server_config(&for_names(&["localhost"]));
    let server = Server::start(config, KEEPS, true).await;
    let https: Uri = proxy.parse().unwrap();
    let client: Client = Client::new(ClientOptions {
        proxies: Proxies { https: Some(https), ..Proxies::default() },
        tls: Some(authority.tls()),
        ..ClientOptions::default()
    });
    ask(&client, &server.url()).await
}

#[tokio::test]
async fn https_goes_through_a_tunnel() {
    let proxy = tunnel_proxy().await;
    let known = format!("http://user:secret@{proxy}");
    assert_eq!("ok", ask_through(known).await.unwrap().1);
    let reason = reason(ask_through(format!("http://{proxy}")).await);
    assert!(reason.contains("proxy authorization required"), "{reason}");
}

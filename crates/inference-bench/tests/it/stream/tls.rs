//! Stamps below TLS: those of the ciphertext, by the kernel.

use std::io::Write;
use std::process::Command;
use std::sync::Arc;

use inference_bench::stream::calibrate::Errors;
use inference_bench::stream::{EmitterOptions, RequestRecord};
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
use rustls::ServerConfig;
use rustls::pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer};
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::TlsAcceptor;

use super::server::{Source, runtime};

/// An authority's certificate as PEM, and a server's configuration for `localhost` that it signed.
fn certified() -> (String, Arc<ServerConfig>) {
    let mut params = CertificateParams::new(Vec::new()).unwrap();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let issuer = CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap();
    let key = KeyPair::generate().unwrap();
    let params = CertificateParams::new(vec!["localhost".to_owned()]).unwrap();
    let certificate = params.signed_by(&key, &issuer).unwrap();
    let key = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(key.serialize_der()));
    let ring = Arc::new(rustls::crypto::ring::default_provider());
    let config = ServerConfig::builder_with_provider(ring)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![certificate.der().clone()], key)
        .unwrap();
    (issuer.pem(), Arc::new(config))
}

/// Ends TLS in front of a server, on a thread of its own; returns the URL.
fn ending_tls(config: Arc<ServerConfig>, behind: String) -> String {
    let (told, port) = std::sync::mpsc::channel();
    std::thread::spawn(move || {
        runtime().block_on(async {
            let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
            told.send(listener.local_addr().unwrap().port()).unwrap();
            let acceptor = TlsAcceptor::from(config);
            while let Ok((tcp, _)) = listener.accept().await {
                tcp.set_nodelay(true).unwrap();
                let (acceptor, behind) = (acceptor.clone(), behind.clone());
                tokio::spawn(async move {
                    let Ok(mut outer) = acceptor.accept(tcp).await else { return };
                    let mut inner = TcpStream::connect(behind).await.unwrap();
                    inner.set_nodelay(true).unwrap();
                    let _ = tokio::io::copy_bidirectional(&mut outer, &mut inner).await;
                });
            }
        });
    });
    format!("https://localhost:{}", port.recv().unwrap())
}

#[test]
fn streams_over_tls_have_the_kernels_stamps_too() {
    let interval = std::time::Duration::from_millis(5);
    let source = Source::start(EmitterOptions { interval, ..EmitterOptions::default() });
    let (authority, config) = certified();
    let url = ending_tls(config, source.url.trim_start_matches("http://").to_owned());
    let folder = tempfile::tempdir().unwrap();
    let roots = folder.path().join("roots.pem");
    std::fs::File::create(&roots).unwrap().write_all(authority.as_bytes()).unwrap();
    let output = Command::new(env!("CARGO_BIN_EXE_inference-bench"))
        .args(["stream", "--url", &url, "--streams", "4", "--tokens", "50"])
        .args(["--calibration", "0s", "-o"])
        .arg(folder.path())
        .env("SSL_CERT_FILE", &roots)
        .output()
        .unwrap();
    let stdout = String::from_utf8_lossy(&output.stdout);
    assert_eq!(Some(0), output.status.code(), "{stdout}");
    let text = std::fs::read_to_string(folder.path().join("report.json")).unwrap();
    assert!(text.contains("\"stamp\": \"kernel\""), "{text}");
    let lines = std::fs::read_to_string(folder.path().join("records.ndjson")).unwrap();
    let records: Vec<RequestRecord> =
        lines.lines().map(|line| RequestRecord::from_line(line).unwrap()).collect();
    assert!(records.iter().all(|record| record.tokens() == 50));
    // Events have stamps of their own, not that of the hand-shake or of the head; and what came together
    // is the exception.
    let errors = Errors::of(&records);
    assert!(100 < errors.gap_us.n(), "{stdout}");
    assert!(errors.gap_us.percentile(0.5).unwrap() < 1000.0, "{errors:?}");
    let events = records.iter().flat_map(|record| &record.events);
    assert!(events.into_iter().any(|event| 0 < event.lag_ns));
}

#[test]
fn an_authority_that_nobody_knows_is_not_trusted() {
    let source = Source::start(EmitterOptions::default());
    let (_, config) = certified();
    let url = ending_tls(config, source.url.trim_start_matches("http://").to_owned());
    let (other, _) = certified();
    let folder = tempfile::tempdir().unwrap();
    let roots = folder.path().join("roots.pem");
    std::fs::write(&roots, other).unwrap();
    let output = Command::new(env!("CARGO_BIN_EXE_inference-bench"))
        .args(["stream", "--url", &url, "--calibration", "0s", "--timeout", "5s"])
        .env("SSL_CERT_FILE", &roots)
        .output()
        .unwrap();
    let stdout = String::from_utf8_lossy(&output.stdout);
    assert_eq!(Some(1), output.status.code(), "{stdout}");
    assert!(stdout.contains("1 connect") && stdout.contains("certificate"), "{stdout}");
}

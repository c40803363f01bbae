//! TLS, with every certificate and every name checked.

use std::error::Error;
use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, RootCertStore};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use crate::connect::BoxError;
use crate::seam;

/// How a client speaks TLS (1.2 and 1.3).
///
/// The server's certificate and name are always checked; there is no switch that turns this off. Clones
/// share their sessions, so that a later connection resumes an earlier one's (RFC 8446, 2.2). A body
/// without length that ends without `close_notify` is an error: it was cut off (RFC 9112, 9.8).
///
/// # Examples
///
/// ```no_run
/// use std::path::Path;
/// use pool::http::{Client, ClientOptions, Tls};
///
/// # fn main() -> Result<(), pool::http::TlsError> {
/// let tls = Tls::with_ca_file(Path::new("company-ca.pem"))?;
/// let client: Client = Client::new(ClientOptions { tls: Some(tls), ..ClientOptions::default() });
/// # Ok(()) }
/// ```
#[derive(Clone, Debug)]
pub struct Tls(Arc<ClientConfig>);

impl Tls {
    /// Trusts the roots that the platform trusts. Where the variables `SSL_CERT_FILE` and `SSL_CERT_DIR` are
    /// set, as OpenSSL has them, these are the ones that they name.
    ///
    /// # Errors
    ///
    /// [`TlsError::NoRoots`] when the platform has none that can be read.
    pub fn new() -> Result<Self, TlsError> {
        Self::with_roots(platform_roots())
    }

    /// Trusts the certificates in a PEM file, besides the platform's roots.
    ///
    /// # Errors
    ///
    /// [`TlsError::CaFile`] when it cannot be read, holds no certificate or one that is malformed.
    pub fn with_ca_file(path: &Path) -> Result<Self, TlsError> {
        let wrong = |source: BoxError| TlsError::CaFile { path: path.to_owned(), source };
        let certificates = seam::certificates(path).map_err(wrong)?;
        if certificates.is_empty() {
            return Err(wrong("it holds no certificate".into()));
        }
        let mut roots = platform_roots();
        for certificate in certificates {
            roots.add(certificate).map_err(|error| wrong(error.into()))?;
        }
        Self::with_roots(roots)
    }

    fn with_roots(roots: RootCertStore) -> Result<Self, TlsError> {
        if roots.is_empty() {
            return Err(TlsError::NoRoots);
        }
        let ring = Arc::new(rustls::crypto::ring::default_provider());
        let mut config = ClientConfig::builder_with_provider(ring)
            .with_safe_default_protocol_versions()
            .expect("ring knows the versions that rustls takes for safe")
            .with_root_certificates(roots)
            .with_no_client_auth();
        config.alpn_protocols = vec![b"http/1.1".to_vec()];
        Ok(Self(Arc::new(config)))
    }

    /// Shakes hands over `stream` with `host`: a name, or an IP address without brackets.
    ///
    /// # Errors
    ///
    /// A host that is neither; a certificate that is not trusted or not the host's; an error of `stream`.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future drops `stream`.
    pub async fn connect<T>(&self, host: &str, stream: T) -> Result<TlsStream<T>, BoxError>
    where
        T: AsyncRead + AsyncWrite + Unpin,
    {
        let name = ServerName::try_from(host.to_owned())?;
        Ok(TlsConnector::from(self.0.clone()).connect(name, stream).await?)
    }
}

/// Those that can be read; one malformed root among hundreds must not end all of TLS.
fn platform_roots() -> RootCertStore {
    let mut roots = RootCertStore::empty();
    let certificates: Vec<CertificateDer<'static>> = seam::platform_certificates();
    roots.add_parsable_certificates(certificates);
    roots
}

/// Why there is no TLS.
#[derive(Debug)]
#[non_exhaustive]
pub enum TlsError {
    /// The platform trusts nobody, as far as can be read.
    NoRoots,
    /// A file of certificates cannot be used.
    CaFile {
        /// The file.
        path: PathBuf,
        /// Why.
        source: BoxError,
    },
}

impl fmt::Display for TlsError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoRoots => write!(f, "the platform has no trusted roots: give a CA file"),
            Self::CaFile { path, .. } => write!(f, "cannot use the CA file {}", path.display()),
        }
    }
}

impl Error for TlsError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        match self {
            Self::NoRoots => None,
            Self::CaFile { source, .. } => Some(&**source),
        }
    }
}

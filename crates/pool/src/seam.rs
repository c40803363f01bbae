//! All that this crate takes from outside: the clock, randomness, tasks and timers of the caller's
//! runtime.

use std::hash::{BuildHasher, Hasher, RandomState};
use std::time::Instant;

#[cfg(not(feature = "shuttle"))]
pub(crate) use self::tokio_runtime::{Runtime, until, within};

#[cfg(feature = "shuttle")]
pub(crate) use self::shuttle_runtime::{Runtime, until, within};

/// The caller's clock: tokio's, so that paused time pauses the pool.
pub(crate) fn now() -> Instant {
    tokio::time::Instant::now().into_std()
}

/// A number without pattern, good enough to keep connections from ending in step.
pub(crate) fn random() -> u32 {
    // The standard library seeds its hashers from the system and varies each; the low half of a hash
    // of nothing is as random as the rest of it.
    RandomState::new().build_hasher().finish() as u32
}

/// The certificates in a PEM file.
#[cfg(feature = "tls")]
pub(crate) fn certificates(
    path: &std::path::Path,
) -> Result<Vec<rustls::pki_types::CertificateDer<'static>>, crate::BoxError> {
    use rustls::pki_types::pem::PemObject;

    let certificates = rustls::pki_types::CertificateDer::pem_file_iter(path)?;
    Ok(certificates.collect::<Result<_, _>>()?)
}

/// The certificates that the platform trusts, as far as they can be read.
#[cfg(feature = "tls")]
pub(crate) fn platform_certificates() -> Vec<rustls::pki_types::CertificateDer<'static>> {
    rustls_native_certs::load_native_certs().certs
}

#[cfg(not(feature = "shuttle"))]
mod tokio_runtime {
    use std::time::{Duration, Instant};

    use tokio::runtime::Handle;

    /// The runtime of some caller.
    #[derive(Clone, Debug)]
    pub(crate) struct Runtime(Handle);

    impl Runtime {
        /// # Panics
        ///
        /// Outside of a runtime.
        #[track_caller]
        pub(crate) fn current() -> Self {
            Self(Handle::current())
        }

        /// Starts a task. On a runtime that has been shut down it is dropped at once.
        pub(crate) fn spawn(&self, task: impl Future<Output = ()> + Send + 'static) {
            drop(self.0.spawn(task));
        }

        /// Starts a task that waits for the clock.
        pub(crate) fn spawn_timer(&self, task: impl Future<Output = ()> + Send + 'static) {
            self.spawn(task);
        }
    }

    /// Waits for `future`, no longer than `limit` if there is one; `None` when that was too short.
    pub(crate) async fn within<F: Future>(limit: Option<Duration>, future: F) -> Option<F::Output> {
        match limit {
            Some(limit) => tokio::time::timeout(limit, future).await.ok(),
            None => Some(future.await),
        }
    }

    /// Waits for `future`, no longer than until `instant`.
    pub(crate) async fn until(instant: Instant, future: impl Future<Output = ()>) {
        drop(tokio::time::timeout_at(instant.into(), future).await);
    }
}

#[cfg(feature = "shuttle")]
mod shuttle_runtime {
    use std::time::{Duration, Instant};

    /// The checker's scheduler.
    #[derive(Clone, Debug)]
    pub(crate) struct Runtime;

    impl Runtime {
        pub(crate) fn current() -> Self {
            Self
        }

        pub(crate) fn spawn(&self, task: impl Future<Output = ()> + Send + 'static) {
            drop(shuttle::future::spawn(task));
        }

        /// The checker has no clock: nothing that waits for it ever runs.
        pub(crate) fn spawn_timer(&self, task: impl Future<Output = ()> + Send + 'static) {
            drop(task);
        }
    }

    /// Waits for `future`: without a clock no limit is ever reached.
    pub(crate) async fn within<F: Future>(_: Option<Duration>, future: F) -> Option<F::Output> {
        Some(future.await)
    }

    /// Waits for `future`: without a clock no instant ever comes.
    pub(crate) async fn until(_: Instant, future: impl Future<Output = ()>) {
        future.await;
    }
}

//! A TCP proxy that makes a near server far, narrow or unreliable.

mod carrier;
mod flight;
mod pump;

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

pub(crate) use carrier::Carrier;
pub use carrier::LinkStats;

use crate::fault::{Fault, FaultKind};
use crate::origin::Settings;
use crate::service::{Service, StartError};

/// What can be changed while a link carries bytes; a change reaches open connections.
///
/// # Examples
///
/// ```
/// use std::time::Duration;
/// use testkit::LinkSettings;
///
/// // One connection gets 64 KiB per 20 ms, some 3.3 MB/s.
/// let far = LinkSettings {
///     latency: Duration::from_millis(10),
///     window: Some(64 << 10),
///     ..LinkSettings::default()
/// };
/// assert!(!far.paused);
/// ```
#[derive(Clone, Debug, Default, PartialEq)]
pub struct LinkSettings {
    /// One way, for each packet; a round trip takes twice as long, and opening a connection one more.
    pub latency: Duration,
    /// Bytes per second and direction that all connections share.
    pub bandwidth: Option<u64>,
    /// Bytes per second and direction of each connection.
    pub connection_bandwidth: Option<u64>,
    /// Bytes in flight per connection and direction, from departure until the acknowledgment is back;
    /// `None`: 64 MiB. One connection gets at most window / round trip.
    pub window: Option<u64>,
    /// What goes wrong on the way from the target: `cut`, `rst`, `half-close`, `stall`, `trickle` after
    /// `at` bytes of the connection (default: at the first) and `cap`. Numbers are those of
    /// connections.
    pub faults: Vec<Fault>,
    /// Whether nothing moves at all.
    pub paused: bool,
}

impl From<&Settings> for LinkSettings {
    fn from(settings: &Settings) -> Self {
        Self {
            latency: settings.latency,
            bandwidth: settings.bandwidth,
            connection_bandwidth: settings.connection_bandwidth,
            window: settings.window,
            faults: settings.faults.clone(),
            paused: false,
        }
    }
}

impl LinkSettings {
    /// Checks that a link can do what the rules want.
    pub(crate) fn check(&self) -> Result<(), String> {
        let known = |fault: &&Fault| {
            use FaultKind::{Cap, Cut, HalfClose, Rst, Stall, Trickle};
            let kind = fault.kind();
            matches!(kind, Cut(_) | Rst | HalfClose | Stall(_) | Trickle(_) | Cap(_))
        };
        if let Some(fault) = self.faults.iter().find(|fault| !known(fault)) {
            return Err(format!(
                "a link cannot do `{fault}`, only cut, rst, half-close, stall, trickle and cap"
            ));
        }
        match self.faults.iter().find(|fault| fault.has_glob()) {
            Some(fault) => Err(format!("a link sees no paths: leave the glob out of `{fault}`")),
            None if self.window == Some(0) => Err("a window of 0 bytes carries nothing".to_owned()),
            None => Ok(()),
        }
    }
}

/// A TCP proxy on loopback; dropping it closes its connections.
///
/// What is in flight, and no more, is taken from the sender; the kernel's own socket buffers come on
/// top at both ends.
///
/// # Examples
///
/// ```
/// use std::time::Duration;
/// use testkit::{Blob, Link, LinkSettings, Options, Origin};
///
/// let origin = Origin::start(Options {
///     blobs: vec![Blob::new("m", 1 << 20, 0)],
///     ..Options::default()
/// })?;
/// let link = Link::start(origin.address(), LinkSettings::default())?;
/// link.configure(LinkSettings { latency: Duration::from_millis(5), ..LinkSettings::default() })?;
/// assert_eq!(0, link.stats().opened);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug)]
pub struct Link {
    service: Service,
    carrier: Arc<Carrier>,
}

impl Link {
    /// Starts a link to `target` on a free port of 127.0.0.1.
    ///
    /// # Errors
    ///
    /// When a rule is none of a link's, or the system has no port or thread to give.
    pub fn start(target: SocketAddr, settings: LinkSettings) -> Result<Self, StartError> {
        settings.check().map_err(StartError::Setting)?;
        let carrier = Arc::new(Carrier::new(settings));
        let shared = Arc::clone(&carrier);
        let listen = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
        let service = Service::start("testkit-link", listen, move |client| {
            let carrier = Arc::clone(&shared);
            async move { carrier.carry(&client, target).await }
        })?;
        Ok(Self { service, carrier })
    }

    /// Returns the address to connect to instead of the target's.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.service.address()
    }

    /// Puts new settings to work.
    ///
    /// # Errors
    ///
    /// When a rule is none of a link's; nothing is changed then.
    pub fn configure(&self, settings: LinkSettings) -> Result<(), StartError> {
        settings.check().map_err(StartError::Setting)?;
        self.carrier.configure(settings);
        Ok(())
    }

    /// Resets all open connections.
    pub fn reset_open(&self) {
        self.carrier.reset_open();
    }

    /// Returns what it has carried.
    #[must_use]
    pub fn stats(&self) -> LinkStats {
        self.carrier.stats()
    }
}

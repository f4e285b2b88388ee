//! The way to the host: passed in, so that tests need no network.

use crate::acquirer::BoxFuture;
use crate::clock::Clock;
use crate::tls::Stream;
use rustls::pki_types::ServerName;
use std::io;
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

/// Makes a connection to the host, ready to be written to.
pub trait Dial: Send + Sync {
    /// A caller that waits no longer drops it.
    fn dial(&self) -> BoxFuture<'_, io::Result<Box<dyn Stream>>>;
}

/// How long one of a name's addresses may take to connect, milliseconds: then the next is tried.
const ADDRESS_MS: u64 = 3_000;

/// How long what was written may go without the other machine's word that it has come, milliseconds: then the connection is broken. A
/// machine that is gone would otherwise be waited for a quarter of an hour.
const UNHEARD_MS: u32 = 20_000;

/// TCP, and TLS over it where there is any.
pub struct Tcp {
    /// `host:port`; a name's addresses are looked up for each connection, and tried one after the other.
    pub address: String,
    pub tls: Option<(TlsConnector, ServerName<'static>)>,
    pub clock: Clock,
}

impl Tcp {
    async fn connect(&self) -> io::Result<TcpStream> {
        let mut last = io::ErrorKind::NotFound.into();
        for address in tokio::net::lookup_host(&self.address).await? {
            match self.clock.within(ADDRESS_MS, TcpStream::connect(address)).await {
                Some(Ok(stream)) => return Ok(stream),
                Some(Err(error)) => last = error,
                None => last = io::ErrorKind::TimedOut.into(),
            }
        }
        Err(last)
    }
}

impl Dial for Tcp {
    fn dial(&self) -> BoxFuture<'_, io::Result<Box<dyn Stream>>> {
        Box::pin(async {
            let stream = self.connect().await?;
            // A message is small and waits for its answer: what the writer gathers goes at once.
            stream.set_nodelay(true)?;
            rustix::net::sockopt::set_tcp_user_timeout(&stream, UNHEARD_MS)?;
            Ok(match &self.tls {
                Some((connector, name)) => Box::new(connector.connect(name.clone(), stream).await?) as Box<dyn Stream>,
                None => Box::new(stream),
            })
        })
    }
}

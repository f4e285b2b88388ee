//! The way to the host: passed in, so that tests need no network.

use crate::acquirer::BoxFuture;
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

/// TCP, and TLS over it where there is any.
pub struct Tcp {
    /// `host:port`; a name's addresses are looked up for each connection, and tried one after the other.
    pub address: String,
    pub tls: Option<(TlsConnector, ServerName<'static>)>,
}

impl Dial for Tcp {
    fn dial(&self) -> BoxFuture<'_, io::Result<Box<dyn Stream>>> {
        Box::pin(async {
            let stream = TcpStream::connect(&self.address).await?;
            // A message is small and waits for its answer: what the writer gathers goes at once.
            stream.set_nodelay(true)?;
            Ok(match &self.tls {
                Some((connector, name)) => Box::new(connector.connect(name.clone(), stream).await?) as Box<dyn Stream>,
                None => Box::new(stream),
            })
        })
    }
}

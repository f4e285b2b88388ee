//! The load: one request over and over on as many connections as there are clients, each waiting for its answer.

use crate::clock::{Clock, Stopwatch};
use crate::error::Error;
use serde::{Deserialize, Serialize};
use std::path::Path;
use std::sync::Arc;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

/// An answer is a few hundred bytes.
const BUFFER: usize = 16 * 1024;

#[derive(Default, Serialize, Deserialize)]
pub struct Measured {
    pub count: u64,
    pub errors: u64,
    pub p50_us: u64,
    pub p99_us: u64,
}

pub async fn run(address: &str, request: &Path, clients: usize, seconds: u64) -> Result<Measured, Error> {
    let request: Arc<[u8]> = std::fs::read(request).map_err(Error::internal)?.into();
    let mut running = tokio::task::JoinSet::new();
    let watch = Stopwatch::start();
    for _ in 0..clients {
        let stream = TcpStream::connect(address).await.map_err(Error::internal)?;
        stream.set_nodelay(true).map_err(Error::internal)?;
        running.spawn(client(stream, request.clone(), watch, seconds));
    }
    let mut times = Vec::new();
    let mut measured = Measured::default();
    while let Some(done) = running.join_next().await {
        let (mut mine, errors) = done.map_err(Error::internal)??;
        times.append(&mut mine);
        measured.errors += errors;
    }
    times.sort_unstable();
    let at = |percent: usize| times.get(times.len() * percent / 100).copied().unwrap_or(0);
    measured.count = times.len() as u64;
    measured.p50_us = at(50);
    measured.p99_us = at(99);
    Ok(measured)
}

async fn client(
    mut stream: TcpStream,
    request: Arc<[u8]>,
    watch: Stopwatch,
    seconds: u64,
) -> Result<(Vec<u64>, u64), Error> {
    let mut times = Vec::new();
    let mut errors = 0;
    let mut buffer = vec![0; BUFFER];
    let clock = Clock::system();
    while watch.elapsed().as_secs() < seconds {
        let started = Stopwatch::start();
        stream.write_all(&request).await.map_err(Error::internal)?;
        let answer = clock.within(10_000, read_answer(&mut stream, &mut buffer)).await;
        let approved = answer.ok_or_else(|| Error::internal("no answer in 10 s"))??;
        if approved {
            times.push(u64::try_from(started.elapsed().as_micros()).unwrap_or(u64::MAX));
        } else {
            errors += 1;
        }
    }
    Ok((times, errors))
}

/// Reads one answer to its end; whether it is a 201 that says `"success":true`.
async fn read_answer(stream: &mut TcpStream, buffer: &mut [u8]) -> Result<bool, Error> {
    let mut filled = 0;
    loop {
        let count = stream.read(&mut buffer[filled..]).await.map_err(Error::internal)?;
        if count == 0 {
            return Err(Error::internal("the gateway closed the connection"));
        }
        filled += count;
        let text = &buffer[..filled];
        let Some(head) = text.windows(4).position(|window| window == b"\r\n\r\n") else { continue };
        let headers = String::from_utf8_lossy(&text[..head]).to_ascii_lowercase();
        let length =
            headers.split("content-length: ").nth(1).and_then(|rest| rest.lines().next()?.parse::<usize>().ok());
        let length = length.ok_or_else(|| Error::internal("an answer without a length"))?;
        if filled >= head + 4 + length {
            let body = &text[head + 4..];
            return Ok(
                headers.starts_with("http/1.1 201") && body.windows(14).any(|window| window == b"\"success\":true")
            );
        }
    }
}

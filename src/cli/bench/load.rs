//! The load: one request, or a charge and what follows it, over and over on as many connections as there are clients,
//! each waiting for its answer.

use crate::clock::{Clock, Stopwatch};
use crate::directory::NewMerchant;
use crate::error::Error;
use serde::{Deserialize, Serialize};
use std::ops::Range;
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

/// What is measured: a payment by itself, or what follows a charge, with that charge before it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum Operation {
    Payment,
    Capture,
    Refund,
    Void,
}

pub const FOLLOWING: [Operation; 3] = [Operation::Capture, Operation::Refund, Operation::Void];

impl Operation {
    pub fn name(self) -> &'static str {
        match self {
            Operation::Payment => "payment",
            Operation::Capture => "capture",
            Operation::Refund => "refund",
            Operation::Void => "void",
        }
    }

    /// The charge that it follows.
    fn charge(self) -> &'static str {
        if matches!(self, Operation::Payment | Operation::Refund) { "payment" } else { "authorization" }
    }
}

pub async fn run(
    address: &str,
    request: &Path,
    clients: usize,
    seconds: u64,
    operation: Operation,
) -> Result<Measured, Error> {
    let request = std::fs::read_to_string(request).map_err(Error::internal)?;
    let request = Arc::new(Request::of(&request, operation).ok_or_else(|| Error::internal("not a request"))?);
    let mut running = tokio::task::JoinSet::new();
    let watch = Stopwatch::start();
    // Another run has other cards.
    let run = u64::from(std::process::id()) * 100_000_000;
    for at in 0..clients {
        let stream = TcpStream::connect(address).await.map_err(Error::internal)?;
        stream.set_nodelay(true).map_err(Error::internal)?;
        let first = run + u64::try_from(at).unwrap_or(0) * 1_000_000;
        running.spawn(client(Line { stream, buffer: vec![0; BUFFER] }, request.clone(), watch, seconds, first));
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

/// The charge as it goes over the wire, and what follows it, which needs the charge's id.
struct Request {
    charge: String,
    /// Where the card's number and the customer's address stand, if each charge has its own.
    varied: Option<(usize, usize)>,
    /// Head and body up to the id, and the body behind it.
    following: Option<(String, String)>,
}

impl Request {
    /// From the payment that `serve` printed.
    fn of(payment: &str, operation: Operation) -> Option<Request> {
        const PATH: &str = "server-to-server-interface/payment";
        let to = |noun: &str| payment.replacen(PATH, &format!("server-to-server-interface/{noun}"), 1);
        let charge = to(operation.charge());
        let varied = charge.find(CARD).zip(charge.find(ADDRESS));
        if operation == Operation::Payment {
            return Some(Request { charge, varied, following: None });
        }
        let merchant = payment.split("\"merchant_id\":\"").nth(1)?.split('"').next()?.to_owned();
        let follows = to(operation.name());
        let head = follows.split("content-length:").next()?;
        let before = "{\"transactionId\":\"";
        let behind = format!("\",\"merchant_id\":\"{merchant}\",\"amount\":1000}}");
        let length = before.len() + 36 + behind.len();
        Some(Request {
            charge,
            varied,
            following: Some((format!("{head}content-length: {length}\r\n\r\n{before}"), behind)),
        })
    }
}

/// What stands in a request for what differs in each, in its length.
const CARD: &str = "card-number-here";
const ADDRESS: &str = "customer-ip-her";

impl Request {
    /// The charge of this number.
    fn charge(&self, number: u64) -> String {
        let mut text = self.charge.clone();
        if let Some((card, address)) = self.varied {
            text.replace_range(card..card + CARD.len(), &card_number(number));
            let part = |divisor: u64| 100 + number / divisor % 100;
            let ip = format!("{}.{}.{}.{}", 130 + number % 30, part(30), part(3_000), part(300_000));
            text.replace_range(address..address + ADDRESS.len(), &ip);
        }
        text
    }
}

/// A Visa number of sixteen digits with its check digit (ISO/IEC 7812-1 annex B).
fn card_number(number: u64) -> String {
    let digits = format!("4539{:011}", number * 7_919 % 100_000_000_000);
    let sum: u32 = digits
        .bytes()
        .rev()
        .enumerate()
        .map(|(position, digit)| {
            let value = u32::from(digit - b'0') * if position % 2 == 0 { 2 } else { 1 };
            value / 10 + value % 10
        })
        .sum();
    format!("{digits}{}", (10 - sum % 10) % 10)
}

/// The gateway's printed payment as one with a card and an address of its own in each charge.
pub fn with_cards(request: &[u8]) -> Option<Vec<u8>> {
    let (head, body) = std::str::from_utf8(request).ok()?.split_once("\r\n\r\n")?;
    let mut body: serde_json::Value = serde_json::from_str(body).ok()?;
    body.as_object_mut()?.remove("payment_method");
    body["card"] =
        serde_json::json!({"number": CARD, "expiry_month": "12", "expiry_year": "2040", "cvc": "123", "name": ""});
    body["customer_ip"] = ADDRESS.into();
    let body = body.to_string();
    let head = head.split("content-length:").next()?;
    Some(format!("{head}content-length: {}\r\n\r\n{body}", body.len()).into_bytes())
}

/// The same payment of another merchant.
pub fn with_keys(request: &[u8], made: &NewMerchant) -> Option<Vec<u8>> {
    let (head, body) = std::str::from_utf8(request).ok()?.split_once("\r\n\r\n")?;
    let line = |line: &str| match line.split(':').next().unwrap_or_default().to_ascii_lowercase().as_str() {
        "x-api-key" => Some(format!("x-api-key: {}", made.api_key.as_deref()?)),
        "authorization" => Some(format!("authorization: Basic {}", made.secret_key.as_deref()?)),
        _ => Some(line.to_owned()),
    };
    let head = head.lines().map(line).collect::<Option<Vec<_>>>()?.join("\r\n");
    let before = body.split("\"merchant_id\":\"").nth(1)?.get(..made.merchant_id.len())?;
    Some(format!("{head}\r\n\r\n{}", body.replacen(before, &made.merchant_id, 1)).into_bytes())
}

async fn client(
    mut line: Line,
    request: Arc<Request>,
    watch: Stopwatch,
    seconds: u64,
    first: u64,
) -> Result<(Vec<u64>, u64), Error> {
    let mut times = Vec::new();
    let mut errors = 0;
    let mut number = first;
    while watch.elapsed().as_secs() < seconds {
        let mut started = Stopwatch::start();
        let charge = if request.varied.is_some() { request.charge(number) } else { String::new() };
        let charge = if charge.is_empty() { &request.charge } else { &charge };
        number += 1;
        let mut approved = line.ask(charge.as_bytes()).await?;
        if let (Some((head, tail)), Some(id)) = (&request.following, &approved) {
            let following = format!("{head}{id}{tail}");
            started = Stopwatch::start();
            approved = line.ask(following.as_bytes()).await?;
        }
        if approved.is_some() {
            times.push(u64::try_from(started.elapsed().as_micros()).unwrap_or(u64::MAX));
        } else {
            errors += 1;
        }
    }
    Ok((times, errors))
}

/// One client's connection.
struct Line {
    stream: TcpStream,
    buffer: Vec<u8>,
}

impl Line {
    /// One request and its answer; the transaction's id when it is a 201 that says `"success":true`.
    async fn ask(&mut self, request: &[u8]) -> Result<Option<String>, Error> {
        self.stream.write_all(request).await.map_err(Error::internal)?;
        let answer = Clock::system().within(10_000, self.read_answer()).await;
        let body = answer.ok_or_else(|| Error::internal("no answer in 10 s"))??;
        let Some(body) = body else { return Ok(None) };
        let text = std::str::from_utf8(&self.buffer[body]).unwrap_or_default();
        let id = text.split("\"transaction_details\":{\"id\":\"").nth(1).and_then(|rest| rest.get(..36));
        Ok(id.filter(|_| text.starts_with("{\"success\":true")).map(str::to_owned))
    }

    /// Reads one answer to its end; where its body stands in the buffer, if it is a 201.
    async fn read_answer(&mut self) -> Result<Option<Range<usize>>, Error> {
        let mut filled = 0;
        loop {
            let count = self.stream.read(&mut self.buffer[filled..]).await.map_err(Error::internal)?;
            if count == 0 {
                return Err(Error::internal("the gateway closed the connection"));
            }
            filled += count;
            let text = &self.buffer[..filled];
            let Some(head) = text.windows(4).position(|window| window == b"\r\n\r\n") else { continue };
            let headers = String::from_utf8_lossy(&text[..head]).to_ascii_lowercase();
            let length =
                headers.split("content-length: ").nth(1).and_then(|rest| rest.lines().next()?.parse::<usize>().ok());
            let length = length.ok_or_else(|| Error::internal("an answer without a length"))?;
            let end = head + 4 + length;
            if filled >= end {
                return Ok(headers.starts_with("http/1.1 201").then_some(head + 4..end));
            }
        }
    }
}

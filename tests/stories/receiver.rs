//! A merchant's receiver on a port of its own: it notes what it hears, and answers as it was told to.

use serde_json::Value;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};

/// What it does with a request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Does {
    /// The bytes of an answer.
    Says(String),
    Hangs,
    Cuts,
    /// A head, and then 100 MB.
    Floods,
}

impl Does {
    pub fn status(status: u16) -> Does {
        Does::Says(format!("HTTP/1.1 {status} -\r\ncontent-length: 2\r\n\r\nok"))
    }

    pub fn redirects(to: &str) -> Does {
        Does::Says(format!("HTTP/1.1 307 -\r\nlocation: {to}\r\ncontent-length: 0\r\n\r\n"))
    }
}

/// Epoch milliseconds.
pub fn now() -> i64 {
    i64::try_from(SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_millis()).unwrap()
}

#[derive(Clone, Debug)]
pub struct Heard {
    pub head: String,
    pub body: String,
    /// Epoch milliseconds.
    pub at: i64,
}

impl Heard {
    pub fn header(&self, name: &str) -> String {
        let pairs = self.head.lines().filter_map(|line| line.split_once(": "));
        let mut found = pairs.filter(|(key, _)| key.eq_ignore_ascii_case(name)).map(|(_, value)| value.to_owned());
        found.next().unwrap_or_else(|| panic!("no {name} in {}", self.head))
    }

    pub fn id(&self) -> String {
        self.header("webhook-id")
    }

    pub fn json(&self) -> Value {
        serde_json::from_str(&self.body).unwrap()
    }

    /// Verified by the independent library.
    pub fn verify(&self, secret: &str) -> Result<(), String> {
        let mut headers = http::HeaderMap::new();
        for name in ["webhook-id", "webhook-timestamp", "webhook-signature"] {
            headers.insert(name, self.header(name).parse().unwrap());
        }
        let webhook = standardwebhooks::Webhook::new(secret).unwrap();
        webhook.verify(self.body.as_bytes(), &headers).map_err(|error| error.to_string())
    }
}

pub struct Receiver {
    pub url: String,
    heard: Arc<Mutex<Vec<Heard>>>,
    does: Arc<Mutex<Vec<Does>>>,
    task: tokio::task::JoinHandle<()>,
}

impl Drop for Receiver {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Receiver {
    /// Does one after the other, the last for ever.
    pub async fn new(does: &[Does]) -> Receiver {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}/hook?shop=%E6%9C%AD", listener.local_addr().unwrap());
        let mut does = does.to_vec();
        does.reverse();
        let (heard, does) = (Arc::new(Mutex::new(Vec::new())), Arc::new(Mutex::new(does)));
        let (ears, mind) = (heard.clone(), does.clone());
        let task = tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                tokio::spawn(serve(stream, ears.clone(), mind.clone()));
            }
        });
        Receiver { url, heard, does, task }
    }

    pub fn turns_to(&self, does: Does) {
        *self.does.lock().unwrap() = vec![does];
    }

    pub fn heard(&self) -> Vec<Heard> {
        self.heard.lock().unwrap().clone()
    }

    /// Waits until so many were heard.
    pub async fn hears(&self, count: usize, seconds: u64) -> Vec<Heard> {
        let end = Instant::now() + Duration::from_secs(seconds);
        loop {
            let heard = self.heard();
            if heard.len() >= count {
                return heard;
            }
            assert!(Instant::now() < end, "heard {} of {count}: {heard:#?}", heard.len());
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }
}

async fn serve(mut stream: TcpStream, ears: Arc<Mutex<Vec<Heard>>>, mind: Arc<Mutex<Vec<Does>>>) {
    let mut bytes = Vec::new();
    while let Some(heard) = request(&mut stream, &mut bytes).await {
        ears.lock().unwrap().push(heard);
        let does = {
            let mut mind = mind.lock().unwrap();
            if mind.len() > 1 { mind.pop() } else { mind.last().cloned() }
        };
        let wrote = match does.unwrap() {
            Does::Says(answer) => stream.write_all(answer.as_bytes()).await,
            Does::Hangs => {
                tokio::time::sleep(Duration::from_secs(60)).await;
                return;
            }
            Does::Cuts => return,
            Does::Floods => flood(&mut stream).await,
        };
        if wrote.is_err() {
            return;
        }
    }
}

async fn flood(stream: &mut TcpStream) -> std::io::Result<()> {
    stream.write_all(b"HTTP/1.1 200 -\r\ncontent-length: 104857600\r\n\r\n").await?;
    let piece = vec![b'x'; 1 << 20];
    for _ in 0..100 {
        stream.write_all(&piece).await?;
    }
    Ok(())
}

async fn request(stream: &mut TcpStream, bytes: &mut Vec<u8>) -> Option<Heard> {
    let whole = |bytes: &[u8]| {
        let end = bytes.windows(4).position(|four| four == b"\r\n\r\n")? + 4;
        let head = String::from_utf8(bytes[..end].to_vec()).unwrap();
        let heard = Heard { head, body: String::new(), at: 0 };
        let length: usize = heard.header("content-length").parse().unwrap();
        let body = bytes.get(end..end + length)?;
        Some((end + length, Heard { body: String::from_utf8(body.to_vec()).unwrap(), at: now(), ..heard }))
    };
    loop {
        if let Some((end, heard)) = whole(bytes) {
            bytes.drain(..end);
            return Some(heard);
        }
        if stream.read_buf(bytes).await.ok()? == 0 {
            return None;
        }
    }
}

//! A form as browsers send it. Its bytes hold a card number: they are zeroed when dropped, and so is each name and value.

use crate::app::App;
use axum::body::Body;
use axum::http::{HeaderMap, header};
use http_body_util::BodyExt as _;
use zeroize::Zeroizing;

/// A larger form is none of ours; the rest of it is not read.
const LIMIT: usize = 16 * 1024;

/// Most forms are shorter. Whoever opens many connections and sends little should not hold much.
const START: usize = 1_024;

/// More fields are none of ours.
const MOST: usize = 64;

/// How long a form may take, milliseconds.
const BODY_MS: u64 = 30_000;

pub struct Form(Vec<(Zeroizing<String>, Zeroizing<String>)>);

impl Form {
    /// `None`: no form, too large, too slow, or cut off.
    pub async fn read(app: &App, headers: &HeaderMap, body: Body) -> Option<Form> {
        let media = headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
        let essence = media.split(';').next().unwrap_or_default().trim();
        if !essence.eq_ignore_ascii_case("application/x-www-form-urlencoded") {
            return None;
        }
        let bytes = app.clock.within(BODY_MS, collect(body)).await??;
        Form::parse(&bytes)
    }

    pub fn parse(bytes: &[u8]) -> Option<Form> {
        let mut fields = Vec::new();
        for pair in bytes.split(|byte| *byte == b'&').filter(|pair| !pair.is_empty()) {
            let at = pair.iter().position(|byte| *byte == b'=').unwrap_or(pair.len());
            let value = pair.get(at + 1..).unwrap_or_default();
            fields.push((decoded(&pair[..at])?, decoded(value)?));
            if fields.len() > MOST {
                return None;
            }
        }
        Some(Form(fields))
    }

    /// The first of that name, without white space around it; empty when there is none.
    pub fn get(&self, name: &str) -> &str {
        self.0.iter().find(|(key, _)| key.as_str() == name).map_or("", |(_, value)| value.trim())
    }

    pub fn has(&self, name: &str) -> bool {
        self.0.iter().any(|(key, _)| key.as_str() == name)
    }
}

async fn collect(mut body: Body) -> Option<Zeroizing<Vec<u8>>> {
    let mut bytes = Zeroizing::new(Vec::with_capacity(START));
    while let Some(frame) = body.frame().await {
        let data = frame.ok()?.into_data().unwrap_or_default();
        let length = bytes.len() + data.len();
        if length > LIMIT {
            return None;
        }
        if length > bytes.capacity() {
            // By hand: a vector that grows by itself leaves a copy behind that is not zeroed.
            let mut larger = Zeroizing::new(Vec::with_capacity(length.next_power_of_two()));
            larger.extend_from_slice(&bytes);
            bytes = larger;
        }
        bytes.extend_from_slice(&data);
    }
    Some(bytes)
}

/// `application/x-www-form-urlencoded` (WHATWG URL, section 5.1), with one difference: what is no UTF-8 is refused.
fn decoded(bytes: &[u8]) -> Option<Zeroizing<String>> {
    let hex = |byte: Option<&u8>| {
        byte.and_then(|byte| char::from(*byte).to_digit(16)).and_then(|digit| u8::try_from(digit).ok())
    };
    // Never longer than the input: growing would leave a copy behind that is not zeroed.
    let mut out = Zeroizing::new(Vec::with_capacity(bytes.len()));
    let mut at = 0;
    while let Some(byte) = bytes.get(at) {
        match (byte, hex(bytes.get(at + 1)), hex(bytes.get(at + 2))) {
            (b'%', Some(high), Some(low)) => {
                out.push(high * 16 + low);
                at += 2;
            }
            (b'+', ..) => out.push(b' '),
            (byte, ..) => out.push(*byte),
        }
        at += 1;
    }
    std::str::from_utf8(&out).ok().map(|text| Zeroizing::new(text.to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn forms_are_read_as_browsers_write_them() {
        let form = Form::parse(b"number=4111+1111%201111&name=%E5%B1%B1%E7%94%B0&a=1&a=2&empty=&bare&=x&p=100%&q=%zz")
            .unwrap();
        let got = ["number", "name", "a", "empty", "bare", "", "p", "q", "none"].map(|name| form.get(name).to_owned());
        assert_eq!(got, ["4111 1111 1111", "山田", "1", "", "", "x", "100%", "%zz", ""]);
        assert!(Form::parse(b"a=%ff").is_none());
        assert!(Form::parse("a=1&".repeat(65).as_bytes()).is_none() && Form::parse(b"").is_some());
    }
}

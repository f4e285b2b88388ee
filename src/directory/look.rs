//! How a merchant's pages look: an accent colour whose contrast is checked, a logo that can do nothing, and who may frame them.

use super::{BUMP, Directory};
use crate::audit::Deed;
use crate::clock::Clock;
use crate::db::{Stmt, Written, args};
use crate::error::Error;

/// The largest logo, bytes.
pub const LOGO_LIMIT: usize = 64 * 1024;

/// The most origins that may frame a merchant's pages.
pub const FRAMES_LIMIT: usize = 20;

/// The least contrast of text (WCAG 2.2, 1.4.3), in hundredths.
const LEAST_CONTRAST: i64 = 450;

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Look {
    /// Six lower-case hexadecimal digits; behind white text.
    pub accent: Option<String>,
    /// The name of the file: its hash and an ending.
    pub logo: Option<String>,
    /// Origins: `https://shop.example`.
    pub framed_by: Vec<String>,
}

/// What is to change; `None` leaves it as it is, an empty text or file takes it away.
#[derive(Default)]
pub struct LookChange {
    pub accent: Option<String>,
    pub logo: Option<Logo>,
    pub framed_by: Option<Vec<String>>,
}

pub struct Logo {
    pub name: String,
    pub bytes: Vec<u8>,
}

impl Look {
    pub fn from_columns(accent: Option<&str>, logo: Option<&str>, frames: &str) -> Look {
        let text = |text: Option<&str>| text.filter(|text| !text.is_empty()).map(str::to_owned);
        Look {
            accent: text(accent),
            logo: text(logo),
            framed_by: frames.split(' ').filter(|origin| !origin.is_empty()).map(str::to_owned).collect(),
        }
    }
}

/// `#0a7d5a` as `0a7d5a`.
///
/// # Errors
/// In words for the operator: no colour, or white text could not be read on it.
pub fn accent(text: &str) -> Result<String, String> {
    let digits = text.strip_prefix('#').unwrap_or(text).to_ascii_lowercase();
    let parts: Option<Vec<u8>> =
        (0..3).map(|at| digits.get(at * 2..at * 2 + 2).and_then(|two| u8::from_str_radix(two, 16).ok())).collect();
    let plain = digits.len() == 6 && digits.bytes().all(|byte| byte.is_ascii_hexdigit());
    let Some(parts) = parts.filter(|_| plain) else { return Err("a colour is written like #0a7d5a".to_owned()) };
    let contrast = contrast_with_white([parts[0], parts[1], parts[2]]);
    if contrast < LEAST_CONTRAST {
        return Err(format!(
            "white text on this colour has a contrast of {}.{:02}:1; it needs 4.5:1 to be readable: take a darker one",
            contrast / 100,
            contrast % 100
        ));
    }
    Ok(digits)
}

/// WCAG 2.2's contrast ratio of white and this sRGB colour, in hundredths, rounded down.
#[allow(clippy::cast_possible_truncation)] // at most 2100
fn contrast_with_white(rgb: [u8; 3]) -> i64 {
    let linear = |value: u8| {
        let value = f64::from(value) / 255.0;
        if value <= 0.04045 { value / 12.92 } else { ((value + 0.055) / 1.055).powf(2.4) }
    };
    let luminance = 0.2126 * linear(rgb[0]) + 0.7152 * linear(rgb[1]) + 0.0722 * linear(rgb[2]);
    (1.05 / (luminance + 0.05) * 100.0 + 1e-9) as i64
}

/// A PNG; `hash` names its bytes. No SVG: what runs or loads nothing in it cannot be told without a parser of what browsers take.
///
/// # Errors
/// In words for the operator.
pub fn logo(bytes: Vec<u8>, hash: impl Fn(&[u8]) -> String) -> Result<Logo, String> {
    if bytes.len() > LOGO_LIMIT {
        return Err(format!(
            "a logo has at most {} KiB; this one has {}",
            LOGO_LIMIT / 1024,
            bytes.len().div_ceil(1024)
        ));
    }
    // The signature, and the header that comes first (PNG, third edition, 5.2 and 5.6).
    if !bytes.starts_with(b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR") {
        return Err("a logo is a PNG file".to_owned());
    }
    Ok(Logo { name: format!("{}.png", hash(&bytes)), bytes })
}

/// An origin, as a Content-Security-Policy names it; `http` on the operator's own machine only, for whoever is between could
/// put the page into a frame of his own.
///
/// # Errors
/// In words for the operator.
pub fn frame(text: &str) -> Result<String, String> {
    let wrong = || format!("{text:?} is no origin such as https://shop.example");
    let url = url::Url::parse(text).map_err(|_| wrong())?;
    let host = url.host_str().unwrap_or_default();
    let own = match url.host() {
        Some(url::Host::Domain(name)) => name == "localhost",
        Some(url::Host::Ipv4(address)) => address.is_loopback(),
        _ => false,
    };
    let plain =
        !host.is_empty() && host.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'-'));
    let alone = url.path() == "/" && url.query().is_none() && url.fragment().is_none() && url.username().is_empty();
    if !matches!(url.scheme(), "https" | "http") || !plain || !alone {
        return Err(wrong());
    }
    if url.scheme() == "http" && !own {
        return Err(format!("{text:?} is not https: plain http is for localhost and 127.0.0.1 only"));
    }
    Ok(url.origin().ascii_serialization())
}

impl Directory {
    /// Changes how a merchant's pages look; audited. `false` when there is no such merchant.
    pub async fn set_look(&self, id: &str, change: LookChange, who: &str, clock: &Clock) -> Result<bool, Error> {
        let mut details = Vec::new();
        let touch = "UPDATE merchants SET page_frames = page_frames WHERE id = $1";
        let mut writes = vec![Stmt::new(touch, args![id]).exactly(1)];
        if let Some(accent) = &change.accent {
            details.push(format!("accent {accent}"));
            let sql = "UPDATE merchants SET page_accent = $2 WHERE id = $1";
            writes.push(Stmt::new(sql, args![id, accent.as_str()]));
        }
        if let Some(framed_by) = &change.framed_by {
            details.push(format!("framed by {}", framed_by.join(" ")));
            let sql = "UPDATE merchants SET page_frames = $2 WHERE id = $1";
            writes.push(Stmt::new(sql, args![id, framed_by.join(" ")]));
        }
        if let Some(logo) = change.logo {
            details.push(format!("logo {}", logo.name));
            let sql = "UPDATE merchants SET page_logo = $2 WHERE id = $1";
            writes.push(Stmt::new(sql, args![id, logo.name.as_str()]));
            writes.push(Stmt::new(
                "INSERT INTO merchant_logos (merchant_id, name, data) VALUES ($1, $2, $3) \
                 ON CONFLICT (merchant_id) DO UPDATE SET name = $2, data = $3",
                args![id, logo.name.as_str(), logo.bytes],
            ));
        }
        let detail = details.join("; ");
        writes.push(Stmt::new(BUMP, vec![]));
        writes.push(Deed { who, action: "merchant.page", subject: id, detail: &detail }.insert(clock.now()));
        match self.db.write(writes).await? {
            Written::Applied(_) => {
                self.read().await?;
                Ok(true)
            }
            Written::GuardFailed(_) => Ok(false),
            Written::Ambiguous => Err(Error::internal("the database was lost during the change: list and try again")),
        }
    }

    /// A logo's bytes, by merchant and name: an older name is not found.
    pub async fn logo(&self, merchant: &str, name: &str) -> Result<Option<Vec<u8>>, Error> {
        let sql = "SELECT data FROM merchant_logos WHERE merchant_id = $1 AND name = $2";
        let rows = self.db.rows(sql, args![merchant, name]).await?;
        rows.first().map(|row| row.bytes(0).map(<[u8]>::to_vec)).transpose()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn accents_carry_white_text() {
        assert_eq!(accent("#0a7d5a"), Ok("0a7d5a".to_owned()));
        assert_eq!(accent("1D4ED8"), Ok("1d4ed8".to_owned()));
        // The values of WCAG's own definition: black 21:1, #767676 4.54:1, #777777 4.48:1.
        assert_eq!(contrast_with_white([0; 3]), 2100);
        assert_eq!((contrast_with_white([0x76; 3]), contrast_with_white([0x77; 3])), (454, 447));
        assert!(accent("#777777").unwrap_err().contains("4.47:1"));
        for text in ["", "#fff", "#12345", "#1234567", "red", "#12345g", "#é1234", "#+12345"] {
            assert!(accent(text).is_err(), "{text}");
        }
    }

    #[test]
    fn logos_are_png() {
        let of = |bytes: &[u8]| logo(bytes.to_vec(), |_| "abc".to_owned()).map(|logo| logo.name);
        let png = b"\x89PNG\r\n\x1a\n\0\0\0\rIHDRrest";
        assert_eq!(of(png), Ok("abc.png".to_owned()));
        for bad in ["<svg xmlns='http://www.w3.org/2000/svg'/>", "<html></html>", "\u{89}PNG\r\n\u{1a}\n", "GIF89a", ""]
        {
            assert!(of(bad.as_bytes()).is_err_and(|text| text.contains("PNG")), "{bad}");
        }
        assert!(of(b"\x89PNG\r\n\x1a\n<svg onload=alert(1)>").is_err());
        let mut large = png.to_vec();
        large.resize(LOGO_LIMIT, 0);
        assert!(of(&large).is_ok());
        large.push(0);
        assert!(of(&large).is_err_and(|text| text.contains("64 KiB")));
    }

    #[test]
    fn frames_are_origins() {
        assert_eq!(frame("https://shop.example/"), Ok("https://shop.example".to_owned()));
        assert_eq!(frame("http://localhost:3000"), Ok("http://localhost:3000".to_owned()));
        assert_eq!(frame("http://127.0.0.1:3000"), Ok("http://127.0.0.1:3000".to_owned()));
        for bad in ["http://shop.example", "http://localhost.shop.example", "http://128.0.0.1", "http://10.0.0.1:80"] {
            assert!(frame(bad).is_err_and(|text| text.contains("not https")), "{bad}");
        }
        for bad in
            ["", "*", "https://*.shop.example", "shop.example", "https://shop.example/x", "data:x", "https://a;b"]
        {
            assert!(frame(bad).is_err(), "{bad}");
        }
    }
}

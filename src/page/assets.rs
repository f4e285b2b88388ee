//! Files of the pages, compiled in. Each has the hash of its bytes in its name, so that browsers may keep it for good and a
//! new version is another file.

use axum::body::Body;
use axum::extract::Path;
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::Response;
use std::sync::LazyLock;

struct Asset {
    name: &'static str,
    media: &'static str,
    bytes: &'static [u8],
    /// `style.1a2b3c4d5e6f7a8b.css`.
    hashed: String,
}

const CSS: &str = "text/css; charset=utf-8";
const JS: &str = "text/javascript; charset=utf-8";
const SVG: &str = "image/svg+xml";

macro_rules! files {
    ($($name:literal $media:ident),* $(,)?) => {
        [$(($name, $media, include_bytes!(concat!("static/", $name)).as_slice())),*]
    };
}

static ASSETS: LazyLock<Vec<Asset>> = LazyLock::new(|| {
    let files = files![
        "style.css" CSS, "page.js" JS, "send.js" JS, "wallets.js" JS, "icon.svg" SVG, "visa.svg" SVG, "mastercard.svg" SVG, "amex.svg" SVG, "jcb.svg" SVG,
        "diners.svg" SVG, "discover.svg" SVG, "unionpay.svg" SVG,
    ];
    let asset = |(name, media, bytes): (&'static str, &'static str, &'static [u8])| {
        let (stem, ending) = name.split_once('.').unwrap_or((name, ""));
        Asset { name, media, bytes, hashed: format!("{stem}.{}.{ending}", hash(bytes)) }
    };
    files.into_iter().map(asset).collect()
});

/// The first half of SHA-256, in hexadecimal digits: a name, not a proof.
pub fn hash(bytes: &[u8]) -> String {
    let digest = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, bytes);
    digest.as_ref()[..16].iter().map(|byte| format!("{byte:02x}")).collect()
}

/// The file's name with its hash; empty for a file that there is not, which a test would notice.
pub fn name(name: &str) -> &'static str {
    let assets: &'static [Asset] = &ASSETS;
    assets.iter().find(|asset| asset.name == name).map_or("", |asset| &asset.hashed)
}

pub async fn serve(Path(name): Path<String>) -> Response {
    match ASSETS.iter().find(|asset| asset.hashed == name) {
        Some(asset) => kept(asset.media, asset.bytes.into()),
        None => missing(),
    }
}

/// A file that never changes under its name. It does nothing when it is opened by itself.
pub fn kept(media: &'static str, body: Body) -> Response {
    let mut response = Response::new(body);
    for (name, value) in [
        (header::CONTENT_TYPE, media),
        (header::CACHE_CONTROL, "public, max-age=31536000, immutable"),
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (header::CONTENT_SECURITY_POLICY, "default-src 'none'; sandbox"),
    ] {
        response.headers_mut().insert(name, HeaderValue::from_static(value));
    }
    response
}

pub fn missing() -> Response {
    let mut response = Response::new(Body::empty());
    *response.status_mut() = StatusCode::NOT_FOUND;
    response.headers_mut().insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn files_are_found_by_their_hash_alone() {
        let hashed = name("style.css");
        assert!(hashed.starts_with("style.") && hashed.ends_with(".css") && hashed.len() == 42, "{hashed}");
        let found = serve(Path(hashed.to_owned())).await;
        assert_eq!((found.status().as_u16(), &found.headers()["content-type"]), (200, &HeaderValue::from_static(CSS)));
        assert_eq!(serve(Path("style.css".to_owned())).await.status().as_u16(), 404);
        assert!(ASSETS.iter().all(|asset| !asset.bytes.is_empty()));
    }
}

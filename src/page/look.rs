//! What a merchant's pages look like, as files of their own: no page has an inline style.

use super::assets::{kept, missing};
use crate::app::App;
use axum::extract::{Path, State};
use axum::http::{HeaderValue, header};
use axum::response::Response;

/// `/page/accent/0a7d5a.css`: the colour is in the name, so the file never changes and belongs to nobody.
pub async fn accent(Path(name): Path<String>) -> Response {
    let digits = name.strip_suffix(".css").unwrap_or_default();
    let colour = digits.len() == 6 && digits.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'));
    if colour {
        kept("text/css; charset=utf-8", format!(":root {{ --accent: #{digits}; }}\n").into())
    } else {
        missing()
    }
}

/// `/page/logo/JP00000001/….png`. Opened by itself it is shut in.
pub async fn logo(State(app): State<App>, Path((merchant, name)): Path<(String, String)>) -> Response {
    match app.directory.logo(&merchant, &name).await {
        Ok(Some(bytes)) => {
            let mut response = kept("image/png", bytes.into());
            let policy = HeaderValue::from_static("default-src 'none'; sandbox");
            response.headers_mut().insert(header::CONTENT_SECURITY_POLICY, policy);
            response
        }
        Ok(None) => missing(),
        Err(error) => {
            tracing::error!(cause = error.cause(), "a logo could not be read");
            missing()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn colours_and_nothing_else() {
        let status = async |name: &str| accent(Path(name.to_owned())).await.status().as_u16();
        assert_eq!(status("0a7d5a.css").await, 200);
        for bad in ["", "0a7d5a", ".css", "0A7D5A.css", "0a7d5.css", "é7d5a.css", "0a7d5a}.css"] {
            assert_eq!(status(bad).await, 404, "{bad}");
        }
    }
}

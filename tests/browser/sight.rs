//! What can be said of a page as a whole: faults of accessibility, its picture, and whom it asked for what.

use crate::chromium::Visitor;
use base64::Engine as _;
use serde_json::{Value, json};
use std::path::{Path, PathBuf};

/// The folder with axe-core, as `./test` installs it.
pub fn modules() -> Option<PathBuf> {
    std::env::var("FUDA_TEST_NODE_MODULES").ok().filter(|path| !path.is_empty()).map(PathBuf::from)
}

/// One request that the browser made.
#[derive(Debug, Clone)]
pub struct Asked {
    pub method: String,
    pub url: String,
    pub body: String,
    /// The rest of it, headers and all.
    pub rest: String,
    /// The page that it was made for.
    pub page: String,
}

impl Visitor {
    /// What axe-core finds wrong on the page, with all its rules, one line for each element; `[]` is a good page.
    pub async fn faults(&self) -> Vec<String> {
        self.found("{rules: {'target-size': {enabled: true}}}").await
    }

    async fn found(&self, options: &str) -> Vec<String> {
        if self.runs("return typeof axe").await == "undefined" {
            let source = std::fs::read_to_string(modules().unwrap().join("axe-core/axe.min.js")).unwrap();
            self.runs(&source).await;
        }
        let run = format!(
            "const done = arguments[arguments.length - 1];
            axe.run(document, {options}).then(done, error => done(String(error)));"
        );
        let result = self.window.execute_async(&run, Vec::new()).await.unwrap();
        let unsure = result["incomplete"].as_array().unwrap_or_else(|| panic!("axe-core: {result}")).iter();
        // A contrast that cannot be computed is no contrast that is shown to be enough.
        let unsure = unsure.filter(|rule| rule["id"] == "color-contrast");
        let rules = result["violations"].as_array().unwrap().iter().chain(unsure);
        let line = |rule: &Value, node: &Value| {
            let why = node["failureSummary"].as_str().unwrap_or_default().replace('\n', " ");
            format!("{}: {} {} {why}", rule["id"], node["target"], node["html"])
        };
        rules.flat_map(|rule| rule["nodes"].as_array().unwrap().iter().map(move |node| line(rule, node))).collect()
    }

    /// Good in light and in dark, which differ in their colours only.
    pub async fn is_accessible(&self, state: &str) {
        self.prefers("dark", "reduce").await;
        let dark = self.found("{runOnly: ['color-contrast']}").await;
        self.prefers("light", "no-preference").await;
        let faults = self.faults().await;
        assert!(faults.is_empty(), "{state}, light:\n{}", faults.join("\n"));
        assert!(dark.is_empty(), "{state}, dark:\n{}", dark.join("\n"));
    }

    /// The whole page as `target/screenshots/<name>.png`. For the documents also as `docs/screenshots/<name>.png` when
    /// `FUDA_ACCEPT` is set.
    pub async fn picture(&self, name: &str, documented: bool) {
        let root = Path::new(env!("CARGO_MANIFEST_DIR"));
        let wish = json!({"format": "png", "captureBeyondViewport": true});
        let picture = self.cdp("Page.captureScreenshot", wish).await;
        let picture = base64::engine::general_purpose::STANDARD.decode(picture["data"].as_str().unwrap()).unwrap();
        let mut folders = vec![root.join("target/screenshots")];
        if documented {
            assert!(picture.len() < 150_000, "{name}.png is {} bytes: too much for a README", picture.len());
            folders.extend(std::env::var_os("FUDA_ACCEPT").map(|_| root.join("docs/screenshots")));
        }
        for folder in folders {
            std::fs::create_dir_all(&folder).unwrap();
            std::fs::write(folder.join(format!("{name}.png")), &picture).unwrap();
        }
    }

    /// How far the page reaches beyond the screen's right edge, in CSS pixels. The window's own width would not tell: a
    /// phone widens it for what is too wide.
    pub async fn overhang(&self) -> i64 {
        let script = "return document.documentElement.scrollWidth - screen.width";
        self.runs(script).await.as_i64().unwrap()
    }

    /// All requests since the browser started.
    pub async fn asked(&self) -> Vec<Asked> {
        let heard = self.log().await;
        let mut requests = self.requests.lock().unwrap();
        let sent = |entry: &Value| entry["message"]["method"] == "Network.requestWillBeSent";
        requests.extend(heard.into_iter().filter(sent).map(|entry| entry["message"]["params"].clone()));
        requests.iter().map(asked).collect()
    }

    /// Everything that a page's script could find again: addresses, source, and what is stored in the browser.
    pub async fn remembers(&self) -> String {
        let stored = "return JSON.stringify([{...localStorage}, {...sessionStorage}, document.cookie, history.state,
            location.href, document.referrer, performance.getEntries().map(entry => entry.name)])";
        let cookies = self.cdp("Network.getAllCookies", json!({})).await;
        let history = self.cdp("Page.getNavigationHistory", json!({})).await;
        let source = self.window.source().await.unwrap();
        format!("{source}\n{}\n{cookies}\n{history}", self.runs(stored).await)
    }
}

fn asked(entry: &Value) -> Asked {
    let mut request = entry["request"].clone();
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let (method, url, body) = (text(&request["method"]), text(&request["url"]), text(&request["postData"]));
    let request = request.as_object_mut().unwrap();
    request.remove("postData");
    request.remove("postDataEntries");
    let rest = serde_json::to_string(request).unwrap();
    Asked { method, url, body, rest, page: text(&entry["documentURL"]) }
}

//! A browser without scripts: follows what a cardholder would press, and no redirect by itself.

use reqwest::redirect::Policy;
use std::collections::BTreeMap;

pub struct Browser {
    http: reqwest::Client,
}

pub struct Page {
    pub url: String,
    pub status: u16,
    /// Where it leads by itself.
    pub location: Option<String>,
    pub headers: reqwest::header::HeaderMap,
    pub text: String,
}

/// The first form of a page: where it goes, and what it carries.
pub struct Form {
    pub action: String,
    pub fields: BTreeMap<String, String>,
}

impl Browser {
    pub fn new() -> Browser {
        Browser { http: reqwest::Client::builder().redirect(Policy::none()).build().unwrap() }
    }

    pub async fn open(&self, url: &str) -> Page {
        page(self.http.get(url).send().await.unwrap()).await
    }

    pub async fn open_in(&self, url: &str, language: &str) -> Page {
        page(self.http.get(url).header("accept-language", language).send().await.unwrap()).await
    }

    pub async fn send(&self, url: &str, fields: &[(&str, &str)]) -> Page {
        let body: String = url::form_urlencoded::Serializer::new(String::new()).extend_pairs(fields).finish();
        let request = self.http.post(url).header("content-type", "application/x-www-form-urlencoded").body(body);
        page(request.send().await.unwrap()).await
    }

    /// Presses the button of the page's form, with some fields filled in.
    pub async fn press(&self, form: &Form, filled: &[(&str, &str)]) -> Page {
        let hidden = form.fields.iter().map(|(name, value)| (name.as_str(), value.as_str()));
        let fields: Vec<(&str, &str)> = hidden.chain(filled.iter().copied()).collect();
        self.send(&form.action, &fields).await
    }
}

async fn page(response: reqwest::Response) -> Page {
    let headers = response.headers().clone();
    let location = headers.get("location").map(|value| value.to_str().unwrap().to_owned());
    let url = response.url().to_string();
    Page { url, status: response.status().as_u16(), location, headers, text: response.text().await.unwrap() }
}

impl Page {
    pub fn form(&self) -> Form {
        let form = self.text.split("<form").nth(1).unwrap_or_else(|| panic!("no form: {}", self.text));
        let form = form.split("</form>").next().unwrap();
        let hidden = form.split("<input type=\"hidden\"").skip(1);
        let fields = hidden.map(|input| (attribute(input, "name"), attribute(input, "value"))).collect();
        let action = url::Url::parse(&self.url).unwrap().join(&attribute(form, "action")).unwrap();
        Form { action: action.into(), fields }
    }
}

fn attribute(tag: &str, name: &str) -> String {
    let value = tag.split(&format!(" {name}=\"")).nth(1).unwrap_or_else(|| panic!("no {name}: {tag}"));
    value.split('"').next().unwrap().replace("&#38;", "&").replace("&amp;", "&")
}

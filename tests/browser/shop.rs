//! The shop that a cardholder comes from and goes back to, on a port of its own: pages, and the webhook.

use axum::Router;
use axum::extract::State;
use axum::http::{HeaderMap, Method, Uri};
use axum::response::Html;
use serde_json::Value;
use std::collections::HashMap;
use std::sync::{Arc, Mutex};

/// A browser that came.
#[derive(Clone, Debug)]
pub struct Visit {
    /// Path and query, byte for byte.
    pub target: String,
    pub referrer: Option<String>,
    /// What the gateway said when it was asked before the browser got its answer.
    pub learned: Value,
}

#[derive(Default)]
struct Memory {
    visits: Vec<Visit>,
    told: Vec<Value>,
    pages: HashMap<String, String>,
    question: Option<reqwest::RequestBuilder>,
}

pub struct Shop {
    pub base: String,
    memory: Arc<Mutex<Memory>>,
    task: tokio::task::JoinHandle<()>,
}

impl Drop for Shop {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Shop {
    pub async fn new() -> Shop {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let base = format!("http://{}", listener.local_addr().unwrap());
        let memory = Arc::new(Mutex::new(Memory::default()));
        let router = Router::new().fallback(answer).with_state(memory.clone());
        let task = tokio::spawn(async move { axum::serve(listener, router).await.unwrap() });
        Shop { base, memory, task }
    }

    pub fn url(&self, target: &str) -> String {
        format!("{}{target}", self.base)
    }

    /// What the shop asks its gateway whenever a browser comes.
    pub fn asks(&self, question: reqwest::RequestBuilder) {
        self.memory.lock().unwrap().question = Some(question);
    }

    pub fn shows(&self, path: &str, html: &str) {
        self.memory.lock().unwrap().pages.insert(path.to_owned(), html.to_owned());
    }

    pub fn visits(&self) -> Vec<Visit> {
        self.memory.lock().unwrap().visits.clone()
    }

    /// As if no browser had come yet.
    pub fn forgets(&self) {
        self.memory.lock().unwrap().visits.clear();
    }

    /// The bodies of the webhooks.
    pub fn told(&self) -> Vec<Value> {
        self.memory.lock().unwrap().told.clone()
    }
}

async fn answer(
    State(memory): State<Arc<Mutex<Memory>>>,
    uri: Uri,
    method: Method,
    headers: HeaderMap,
    body: String,
) -> Html<String> {
    if method == Method::POST {
        let told = serde_json::from_str(&body).unwrap_or(Value::String(body));
        memory.lock().unwrap().told.push(told);
        return Html(String::new());
    }
    let question = memory.lock().unwrap().question.as_ref().and_then(reqwest::RequestBuilder::try_clone);
    let learned = match question {
        Some(question) if uri.path() != "/favicon.ico" => question.send().await.unwrap().json().await.unwrap(),
        _ => Value::Null,
    };
    let mut memory = memory.lock().unwrap();
    if uri.path() != "/favicon.ico" {
        let referrer = headers.get("referer").map(|value| value.to_str().unwrap().to_owned());
        let target = uri.path_and_query().unwrap().to_string();
        memory.visits.push(Visit { target, referrer, learned });
    }
    let plain = format!("<!doctype html><html lang=en><title>Shop</title><main><h1>{}</h1></main>", uri.path());
    Html(memory.pages.get(uri.path()).cloned().unwrap_or(plain))
}

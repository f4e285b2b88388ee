//! A server in the place of pay.google.com: its script has the functions of Google's that the page calls, and its tokens are made
//! with keys of the tests.

use crate::maker::google::{Ask, Google};
use axum::Router;
use axum::extract::State;
use axum::http::header::{ACCESS_CONTROL_ALLOW_ORIGIN, CONTENT_TYPE};
use axum::response::IntoResponse;
use axum::routing::{get, post};
use rustls::pki_types::PrivateKeyDer;
use serde_json::{Value, json};
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;

/// Draws its button with a style sheet in the page, as Google's does.
const SCRIPT: &str = "
window.google = {payments: {api: {PaymentsClient: class {
  constructor({environment}) { this.environment = environment; }
  isReadyToPay({allowedPaymentMethods: [method]}) {
    return Promise.resolve({result: method.type === 'CARD' && !method.tokenizationSpecification});
  }
  createButton({onClick}) {
    const style = document.createElement('style');
    style.textContent = '#gpay { width: 100%; height: 48px; background: rgb(0, 0, 0); color: rgb(255, 255, 255) }';
    document.head.append(style);
    const button = document.createElement('button');
    Object.assign(button, {type: 'button', id: 'gpay', textContent: 'Pay with GPay'});
    button.addEventListener('click', onClick);
    return button;
  }
  async loadPaymentData(request) {
    const body = JSON.stringify({environment: this.environment, ...request});
    const answer = await (await fetch('https://pay.google.com/token', {method: 'POST', body})).json();
    if (!answer.token) throw {statusCode: 'CANCELED'};
    return {paymentMethodData: {tokenizationData: {token: answer.token}}};
  }
}}}};";

struct Told {
    google: Google,
    next: Vec<Ask>,
    asked: Vec<Value>,
    gave: Vec<String>,
}

pub struct PayGoogle {
    pub port: u16,
    told: Arc<Mutex<Told>>,
    task: tokio::task::JoinHandle<()>,
}

impl Drop for PayGoogle {
    fn drop(&mut self) {
        self.task.abort();
    }
}

struct Tls(TcpListener, TlsAcceptor);

impl axum::serve::Listener for Tls {
    type Io = TlsStream<TcpStream>;
    type Addr = SocketAddr;

    async fn accept(&mut self) -> (Self::Io, SocketAddr) {
        loop {
            let Ok((stream, address)) = self.0.accept().await else { continue };
            if let Ok(stream) = self.1.accept(stream).await {
                return (stream, address);
            }
        }
    }

    fn local_addr(&self) -> std::io::Result<SocketAddr> {
        self.0.local_addr()
    }
}

impl PayGoogle {
    pub async fn new(google: Google) -> PayGoogle {
        let certified = rcgen::generate_simple_self_signed(vec!["pay.google.com".to_owned()]).unwrap();
        let key = PrivateKeyDer::Pkcs8(certified.signing_key.serialize_der().into());
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let config =
            rustls::ServerConfig::builder_with_provider(provider).with_safe_default_protocol_versions().unwrap();
        let config = config.with_no_client_auth().with_single_cert(vec![certified.cert.der().clone()], key).unwrap();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let told = Arc::new(Mutex::new(Told { google, next: Vec::new(), asked: Vec::new(), gave: Vec::new() }));
        let script = async || ([(CONTENT_TYPE, "text/javascript")], SCRIPT).into_response();
        let router = Router::new().route("/gp/p/js/pay.js", get(script)).route("/token", post(token));
        let (router, tls) = (router.with_state(told.clone()), Tls(listener, TlsAcceptor::from(Arc::new(config))));
        let task = tokio::spawn(async move { axum::serve(tls, router).await.unwrap() });
        PayGoogle { port, told, task }
    }

    /// The next sheet gives this; without one it is closed.
    pub fn gives(&self, ask: Ask) {
        self.told.lock().unwrap().next.push(ask);
    }

    /// What the page asked for.
    pub fn asked(&self) -> Vec<Value> {
        self.told.lock().unwrap().asked.clone()
    }

    pub fn gave(&self) -> Vec<String> {
        self.told.lock().unwrap().gave.clone()
    }
}

async fn token(State(told): State<Arc<Mutex<Told>>>, body: String) -> impl IntoResponse {
    let mut told = told.lock().unwrap();
    told.asked.push(serde_json::from_str(&body).unwrap());
    let token = told.next.pop().map(|ask| told.google.token(&ask).to_string());
    told.gave.extend(token.clone());
    ([(ACCESS_CONTROL_ALLOW_ORIGIN, "*"), (CONTENT_TYPE, "application/json")], json!({"token": token}).to_string())
}

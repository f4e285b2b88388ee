//! What is around a sandbox's own page (the issuer's, a wallet's): the payment that leads there and takes the browser back.

use super::shell::Policy;
use crate::app::App;
use crate::error::Error;
use crate::pay::transaction::ReturnUrl;
use crate::pay::{store, waiting};

#[derive(Default)]
pub struct Around {
    /// A page of the merchant's may hold the payment page in a frame, and then this one too.
    framed_by: Vec<String>,
    /// Where the payment takes the browser back.
    entrance: String,
    urls: ReturnUrl,
}

impl Around {
    /// By the address of the payment's page.
    pub async fn of(app: &App, entrance: &str) -> Result<Around, Error> {
        let token = entrance.rsplit('/').next().and_then(|last| last.split('?').next()).unwrap_or_default();
        let around = Around { entrance: entrance.to_owned(), ..Around::default() };
        let Some(id) = waiting::visitor(app, token) else { return Ok(around) };
        let Some(found) = store::reread(&app.db, id).await? else { return Ok(around) };
        let merchant = app.directory.merchant(found.caller, &found.merchant_id);
        let framed_by = merchant.map(|merchant| merchant.look.framed_by.clone()).unwrap_or_default();
        Ok(Around { framed_by, urls: found.details.return_url, ..around })
    }

    /// The browser goes from here to the payment's page and on to the shop by a redirect, in one step of its own.
    pub fn policy(&self) -> Policy<'_> {
        let shop = [&self.urls.success_url, &self.urls.decline_url].into_iter().flatten().map(String::as_str);
        let leads_to = std::iter::once(self.entrance.as_str()).chain(shop).collect();
        Policy { leads_to, framed_by: &self.framed_by, ..Policy::default() }
    }
}

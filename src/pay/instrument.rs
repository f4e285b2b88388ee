//! The card in memory, for one message to the bank: where it comes from, how it is sent, and what its charge's end adds.

use super::attempts::{self, Sent};
use super::means::{Account, Means};
use super::outcome::Extra;
use super::request::{CardSource, ChargeRequest, Purpose};
use super::stored::{self, StoredCard};
use super::subscribe;
use super::tokens;
use super::transaction::{Kind, State, Transaction};
use super::wallet::{self, Device, FromWallet};
use crate::acquirer::{self, Ask, Initiator, Operation, Outcome, StoredCredential};
use crate::app::App;
use crate::card::{Card, Cvc, contains_number, known_path};
use crate::codes::Code;
use crate::db::Stmt;
use crate::error::{Error, FieldError};
use crate::id::TokenId;
use crate::json::Node;
use crate::risk;
use crate::subscription::Part;
use crate::subscription::rows::erase_unused;

pub struct Instrument {
    pub means: Means,
    /// Gone before a challenge begins: it is never kept, not even in memory for so long.
    pub cvc: Option<Cvc>,
    /// The wallet that it came from.
    pub wallet: Option<FromWallet>,
    /// The token that was charged, with what its row says.
    pub stored: Option<StoredCard>,
    /// The token that is made if the charge is approved.
    pub to_store: Option<TokenId>,
}

/// Brings the card into memory: the request's own, or the token's, opened.
pub async fn bring(app: &App, request: &ChargeRequest, source: CardSource) -> Result<Instrument, Error> {
    match source {
        CardSource::Card { card, cvc, store } => {
            let to_store = store.then(|| TokenId::new(&app.random));
            Ok(Instrument { means: Means::Card(card), cvc, wallet: None, stored: None, to_store })
        }
        CardSource::Wallet { wallet, token, store } => {
            let (card, from) = wallet::open(app, request, wallet, token).await?;
            refuse_own_number(&request.body, &card)?;
            let to_store = store.then(|| TokenId::new(&app.random));
            Ok(Instrument { means: Means::Card(card), cvc: None, wallet: Some(from), stored: None, to_store })
        }
        CardSource::Account { wallet, store } => {
            // Only where the browser can be sent there.
            if request.browser.is_none() || app.connector(request.caller.live).is_none() {
                let detail = "This wallet is paid in its own page: send the payment to paymentv2 or authorizationv2.";
                return Err(Error::new(Code::Err1015).with_detail(detail));
            }
            let to_store = store.then(|| TokenId::new(&app.random));
            let means = Means::Account(Account { scheme: wallet, agreement: None });
            Ok(Instrument { means, cvc: None, wallet: None, stored: None, to_store })
        }
        CardSource::Token(id) => {
            let share = request.details.subscription.as_ref();
            let owner = share.filter(|share| matches!(share.part, Part::Renews { .. })).map(|share| share.id);
            let stored = stored::for_charge(app, request.caller, id, &request.merchant.id, owner).await?;
            let stored = stored.ok_or_else(|| Error::new(Code::Err1003))?;
            let mut means = stored.open(&app.vault, request.caller)?;
            if let (Means::Card(card), Some(at)) = (&mut means, request.at)
                && request.money.minor > 0
                && let Some(newer) = stored::renewed_expiry(app, request.caller, card, (id, owner), at).await?
            {
                card.expiry = newer;
            }
            if let Some(card) = means.card() {
                refuse_own_number(&request.body, card)?;
            }
            if stored.device && request.initiator == Initiator::Customer {
                return Err(Error::new(Code::Err1015));
            }
            // A subscription's customer has agreed by its first charge.
            let agreed = stored.network_transaction_id.is_some() || owner.is_some();
            if request.initiator == Initiator::Merchant && !agreed {
                return Err(Error::field(
                    "payment_method.initiator",
                    "first_charge_must_be_customer",
                    "This merchant has not charged this card yet: its first charge must be the customer's.",
                ));
            }
            Ok(Instrument { means, cvc: None, wallet: None, stored: Some(stored), to_store: None })
        }
    }
}

impl Instrument {
    /// A decline counts against the source of a number that was typed; a stored one has been tried before.
    pub fn counts_as_declined(&self, app: &App, charge: &Transaction) -> Vec<Stmt> {
        let ip = risk::public_ip(charge.details.customer_ip.as_deref());
        let card = self.means.card().filter(|_| self.stored.is_none());
        card.map(|card| app.risk.declined(charge.caller, &card.pan, ip, app.database_now())).unwrap_or_default()
    }

    /// A device's number: whoever holds the device has been authenticated by it.
    pub fn device(&self) -> Option<&Device> {
        self.wallet.as_ref()?.device.as_ref()
    }
}

fn refuse_own_number(body: &Node, card: &Card) -> Result<(), Error> {
    let mut wrong = Vec::new();
    body.each_text("", &mut |path, text| {
        if contains_number(text, &card.pan) {
            let message = "This text contains the card's number. Remove it: it would be stored in the clear.";
            wrong.push(FieldError::new(known_path(path), "contains_card_number", message));
        }
    });
    if wrong.is_empty() { Ok(()) } else { Err(Error::fields(wrong)) }
}

/// The charge as the bank is asked for it.
pub async fn send(
    app: &App,
    request: &ChargeRequest,
    instrument: &Instrument,
    intent: &Transaction,
    sent: &Sent,
) -> Outcome {
    let reference = intent.id.to_string();
    let stored = instrument.stored.as_ref();
    let stored_credential = (stored.is_some() || instrument.to_store.is_some()).then_some(StoredCredential {
        initiator: request.initiator,
        reason: request.reason,
        network_transaction_id: stored.and_then(|stored| stored.network_transaction_id.as_deref()),
        from_vault: stored.is_some(),
        authenticated: stored.is_some_and(|stored| stored.authenticated),
    });
    let proof = intent.details.three_d_secure.as_ref().and_then(|authenticated| authenticated.for_acquirer());
    let ask = Ask {
        reference: &reference,
        named: sent.named(0),
        money: intent.money,
        funding: instrument.means.funding(instrument.cvc.as_ref()),
        device: instrument
            .device()
            .map(|device| acquirer::Device { cryptogram: &device.cryptogram, eci: device.eci.as_deref() }),
        stored_credential,
        authentication: proof.as_ref(),
    };
    let operation = match request.purpose {
        Purpose::Purchase => Operation::Purchase(ask),
        Purpose::Authorization => Operation::Authorize(ask),
        Purpose::Subscription if intent.kind == Kind::Capture => Operation::Purchase(ask),
        Purpose::StoreCard | Purpose::Subscription => Operation::Verify(ask),
    };
    attempts::ask(app, sent.line.acquirer.as_ref(), operation).await
}

/// What the end of a charge adds: the token that was to be made, the use of the one that was charged, or a decline that
/// counts against its source.
pub fn ended(app: &App, request: &ChargeRequest, instrument: &Instrument, after: &Transaction) -> Result<Extra, Error> {
    match after.state {
        State::Approved => approved(app, request, instrument, after),
        State::Declined if instrument.stored.is_none() && !after.unreached() => {
            Ok(Extra { rows: instrument.counts_as_declined(app, after), answer: None })
        }
        State::NotSent => {
            let rows = instrument.wallet.iter().map(|from| from.once.give_back()).collect();
            Ok(Extra { rows, answer: None })
        }
        _ => Ok(Extra::default()),
    }
}

fn approved(app: &App, request: &ChargeRequest, instrument: &Instrument, after: &Transaction) -> Result<Extra, Error> {
    let network = after.network_transaction_id.as_deref();
    let mut rows = match (&instrument.stored, instrument.to_store) {
        (Some(stored), _) => stored.used(&request.merchant.id, network, after.created_at),
        (None, Some(id)) => stored::insert(app, id, &instrument.means, instrument.device().is_some(), after)?,
        (None, None) => Vec::new(),
    };
    let answer = match (request.purpose, instrument.to_store) {
        (Purpose::StoreCard, Some(token)) => {
            Some(tokens::stored_answer(app, request.caller, token, &instrument.means, after)?)
        }
        (Purpose::Subscription, _) => Some(subscribe::answer(request, after)?),
        _ => None,
    };
    // Behind the token that was made: the one that it takes the place of, whoever is to see the new one. And what a last
    // cycle leaves, of whatever card was named while it was on its way.
    rows.extend(after.details.subscription.iter().map(|share| erase_unused(share.id)));
    Ok(Extra { rows, answer })
}

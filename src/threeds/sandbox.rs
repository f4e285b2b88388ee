//! The sandbox's 3DS server, directory server and issuer (contract section 12): real messages between them, kept in the
//! sandbox bank's own file, so that a challenge that one process began is finished by another.

use super::messages::*;
use super::{Authenticator, Steer, eci};
use crate::acquirer::BoxFuture;
use crate::card::{Pan, Scheme};
use crate::clock::Clock;
use crate::db::{Db, Row, Stmt, Written, args};
use crate::error::Error;
use crate::id;
use crate::money::{Currency, Money};
use crate::random::Random;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use zeroize::Zeroizing;

/// The path of the issuer's challenge page below the checkout URL.
pub const ISSUER_PATH: &str = "/sandbox/issuer";

/// The name of the AReq's extension that says how the directory is to answer.
pub const STEER: &str = "fuda-sandbox";

/// Longer than any AReq of ours: its texts have limits of their own.
const LONGEST: usize = 64 * 1024;

/// The code that the issuer refuses; any other six digits pass.
const WRONG_CODE: &str = "000000";

/// Milliseconds.
const DAY_MS: i64 = 24 * 60 * 60 * 1000;

#[derive(Clone)]
pub struct Sandbox {
    books: Db,
    /// Where browsers reach the issuer's page.
    checkout: String,
    clock: Clock,
    random: Random,
}

/// A challenge as the issuer shows it.
pub struct Challenge {
    pub merchant: String,
    pub money: Money,
    pub masked: String,
    /// Where the browser goes back to.
    pub notification_url: String,
    /// The end, if it has come: the browser brings it back.
    pub ended: Option<CRes>,
}

/// What the cardholder did on the issuer's page.
#[derive(Clone, Copy)]
pub enum Entered<'a> {
    Code(&'a str),
    Cancel,
}

impl Sandbox {
    /// `books`: the sandbox bank's, which has made the table.
    pub fn new(books: Db, checkout: &str, clock: &Clock, random: &Random) -> Sandbox {
        Sandbox { books, checkout: checkout.to_owned(), clock: clock.clone(), random: random.clone() }
    }

    /// The directory and the issuer behind it: one AReq in, one ARes out.
    async fn direct(&self, message: &[u8]) -> Result<Vec<u8>, Error> {
        let request: AReq = serde_json::from_slice(message).map_err(|_| Error::internal("an AReq cannot be read"))?;
        let status = match steered(&request) {
            Some(Steer::Silent) => std::future::pending().await,
            Some(Steer::Status(status)) => status,
            // The others are authenticated without being asked.
            None => asks_for(&request.account).unwrap_or(TransStatus::Y),
        };
        let (acs_id, directory_id) = (id::random_uuid(&self.random), id::random_uuid(&self.random));
        let (scheme, challenged) = (request.account.scheme(), status == TransStatus::C);
        if challenged {
            self.keep(&request, &acs_id, &directory_id).await?;
        }
        let answer = ARes {
            message_type: "ARes".to_owned(),
            message_version: VERSION.to_owned(),
            server_id: request.server_id,
            directory_id,
            acs_id,
            status,
            acs_url: challenged.then(|| format!("{}{ISSUER_PATH}", self.checkout)),
            eci: (!challenged).then(|| eci(scheme, status).to_owned()),
            authentication_value: self.proof(status),
        };
        serde_json::to_vec(&answer).map_err(Error::internal)
    }

    async fn keep(&self, request: &AReq, acs_id: &str, directory_id: &str) -> Result<(), Error> {
        let amount = request.amount.parse::<i64>().map_err(|_| Error::internal("an AReq has no amount"))?;
        let insert = Stmt::new(
            "INSERT INTO authentications (acs_id, server_id, directory_id, scheme, masked, merchant, amount_minor, \
             currency, notification_url, created_at) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10)",
            args![
                acs_id,
                request.server_id.as_str(),
                directory_id,
                request.account.scheme().id(),
                request.account.masked(),
                request.merchant_name.as_str(),
                amount,
                request.currency.as_str(),
                request.notification_url.as_str(),
                self.clock.now()
            ],
        );
        match self.books.write(vec![insert]).await? {
            Written::Applied(_) => Ok(()),
            Written::GuardFailed(_) | Written::Ambiguous => Err(Error::internal("the sandbox issuer lost its books")),
        }
    }

    /// Challenges are over after half an hour; a day later nobody asks how they ended.
    pub async fn forget(&self) -> Result<(), Error> {
        let sql = "DELETE FROM authentications WHERE created_at < $1";
        self.books.write(vec![Stmt::new(sql, args![self.clock.now() - DAY_MS])]).await.map(drop)
    }

    /// The challenge that a CReq asks for; `None` when there is none.
    pub async fn challenge(&self, request: &CReq) -> Result<Option<Challenge>, Error> {
        let sql = "SELECT merchant, amount_minor, currency, masked, notification_url, rreq FROM authentications \
                   WHERE acs_id = $1 AND server_id = $2";
        let rows = self.books.rows(sql, args![request.acs_id.as_str(), request.server_id.as_str()]).await?;
        rows.first().map(challenge).transpose()
    }

    /// The cardholder's answer. The first one counts; `None` for a code that is no six digits, which may be entered again.
    pub async fn enter(&self, request: &CReq, entered: Entered<'_>) -> Result<Option<CRes>, Error> {
        let (status, cancelled) = match entered {
            Entered::Cancel => (TransStatus::N, Some("01".to_owned())),
            Entered::Code(code) if code.len() == 6 && code.bytes().all(|byte| byte.is_ascii_digit()) => {
                (if code == WRONG_CODE { TransStatus::N } else { TransStatus::Y }, None)
            }
            Entered::Code(_) => return Ok(None),
        };
        let sql = "SELECT directory_id, scheme, rreq FROM authentications WHERE acs_id = $1 AND server_id = $2";
        let rows = self.books.rows(sql, args![request.acs_id.as_str(), request.server_id.as_str()]).await?;
        let row = rows.first().ok_or_else(|| Error::internal("a challenge is gone"))?;
        let scheme = Scheme::from_id(row.int(1)?).ok_or_else(|| Error::internal("a challenge has no scheme"))?;
        let result = RReq {
            message_type: "RReq".to_owned(),
            message_version: VERSION.to_owned(),
            server_id: request.server_id.clone(),
            directory_id: row.text(0)?.to_owned(),
            acs_id: request.acs_id.clone(),
            message_category: "01".to_owned(),
            status,
            eci: Some(eci(scheme, status).to_owned()),
            authentication_value: self.proof(status),
            interactions: "01".to_owned(),
            cancelled,
        };
        let text = serde_json::to_string(&result).map_err(Error::internal)?;
        let sql = "UPDATE authentications SET rreq = COALESCE(rreq, $3) WHERE acs_id = $1 AND server_id = $2 \
                   RETURNING rreq";
        let update = Stmt::new(sql, args![request.acs_id.as_str(), request.server_id.as_str(), text]).exactly(1);
        match self.books.write(vec![update]).await? {
            Written::Applied(rows) => rows.first().map(|row| ended(row.text(0)?)).transpose(),
            Written::GuardFailed(_) | Written::Ambiguous => Err(Error::internal("the sandbox issuer lost its books")),
        }
    }

    /// 20 bytes in base64, where there is something to prove.
    fn proof(&self, status: TransStatus) -> Option<String> {
        matches!(status, TransStatus::Y | TransStatus::A).then(|| BASE64.encode(self.random.bytes::<20>()))
    }
}

/// How the issuer answers for the cards that ask for authentication.
fn asks_for(pan: &Pan) -> Option<TransStatus> {
    match pan.expose() {
        "4000002500003155" | "4000008400001629" => Some(TransStatus::C),
        "4000000000003220" => Some(TransStatus::Y),
        _ => None,
    }
}

fn steered(request: &AReq) -> Option<Steer> {
    let extension = request.extensions.iter().find(|extension| extension.name == STEER)?;
    extension.data.get("answer").and_then(|word| word.as_str()).and_then(Steer::parse)
}

fn challenge(row: &Row) -> Result<Challenge, Error> {
    let currency = Currency::from_number(row.text(2)?).ok_or_else(|| Error::internal("a challenge has no currency"))?;
    Ok(Challenge {
        merchant: row.text(0)?.to_owned(),
        money: Money { minor: row.int(1)?, currency },
        masked: row.text(3)?.to_owned(),
        notification_url: row.text(4)?.to_owned(),
        ended: row.opt_text(5)?.map(ended).transpose()?,
    })
}

/// What the browser brings back of a result.
fn ended(result: &str) -> Result<CRes, Error> {
    let result: RReq = serde_json::from_str(result).map_err(Error::internal)?;
    Ok(CRes {
        message_type: "CRes".to_owned(),
        message_version: result.message_version,
        server_id: result.server_id,
        acs_id: result.acs_id,
        completed: "Y".to_owned(),
        status: result.status,
    })
}

impl Authenticator for Sandbox {
    fn name(&self) -> &'static str {
        "sandbox"
    }

    fn deadline_ms(&self) -> u64 {
        3_000
    }

    fn asks(&self, pan: &Pan) -> bool {
        asks_for(pan).is_some()
    }

    fn authenticate<'a>(&'a self, request: AReq) -> BoxFuture<'a, Result<ARes, Error>> {
        Box::pin(async move {
            // The number is in it.
            // It does not grow: growing would leave copies behind that nobody zeroes.
            let mut message = Zeroizing::new(Vec::with_capacity(LONGEST));
            serde_json::to_writer(&mut *message, &request).map_err(Error::internal)?;
            let answer = self.direct(&message).await?;
            serde_json::from_slice(&answer).map_err(|_| Error::internal("an ARes cannot be read"))
        })
    }

    fn result<'a>(&'a self, server_id: &'a str) -> BoxFuture<'a, Result<Option<RReq>, Error>> {
        Box::pin(async move {
            let sql = "SELECT rreq FROM authentications WHERE server_id = $1";
            let rows = self.books.rows(sql, args![server_id]).await?;
            let text = rows.first().map_or(Ok(None), |row| row.opt_text(0))?;
            text.map(|text| serde_json::from_str(text).map_err(Error::internal)).transpose()
        })
    }
}

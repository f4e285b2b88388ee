//! `fuda wallet`: which wallets' tokens a merchant takes, beside a running gateway, which follows within a second.

use super::books::operator;
use super::store::Store;
use crate::clock::timestamp;
use crate::config::Config;
use crate::directory::Caller;
use crate::error::Error;
use crate::wallet::identity::Files;
use crate::wallet::setup::{self, Author, SetUp, Settings};
use clap::{Args, Subcommand};
use serde_json::{Value, json};
use std::path::Path;
use zeroize::Zeroizing;

#[derive(Subcommand)]
pub enum WalletCommand {
    /// Take the tokens of a wallet; in force everywhere within a second
    #[command(subcommand)]
    Add(AddWallet),
    /// List the wallets in force; private keys are never shown
    #[command(after_help = "Example:\n  fuda wallet list --json")]
    List {
        /// Print one JSON object
        #[arg(long)]
        json: bool,
    },
    /// Take a wallet's tokens no more, and destroy its private key
    #[command(after_help = "Example:\n  fuda wallet remove wal_5f0e2d4c6b7a8b1a0193626c5f0e2d4c")]
    Remove {
        /// As `fuda wallet list` shows it
        id: String,
        /// Print one JSON object
        #[arg(long)]
        json: bool,
    },
}

#[derive(Subcommand)]
pub enum AddWallet {
    /// Google Pay
    #[command(
        after_help = "The root keys are Google's file keys.json; docs/WALLETS.md says where it is. To change the private \
        key, add the new one, tell Google, and remove the old one when its tokens are past.\n\nExamples:\n  \
        fuda wallet add googlepay --merchant JP00000001 --recipient merchant:12345678901234567890 --key key.pem \
        --roots keys.json\n  \
        fuda wallet add googlepay --merchant JP00000001 --recipient gateway:fuda --gateway-merchant-id shop-1 \
        --merchant-id 12345678901234567890 --key key.pem --roots keys.json --live"
    )]
    Googlepay(AddGoogle),
    /// Apple Pay
    #[command(
        after_help = "The certificate is Apple's payment processing certificate as PEM: openssl x509 -inform DER -in \
        apple_pay.cer -out cert.pem. To change it, add the new one beside the old one.\n\nExamples:\n  \
        fuda wallet add applepay --merchant JP00000001 --cert cert.pem --key key.pem\n  \
        fuda wallet add applepay --merchant JP00000001 --cert cert.pem --key key.pem --identity-cert identity.pem \
        --identity-key identity-key.pem --live"
    )]
    Applepay(AddApple),
}

#[derive(Args)]
pub struct AddGoogle {
    #[command(flatten)]
    place: Place,
    /// Whom Google seals tokens for: merchant:<id>, or gateway:<id> for a gateway that Google knows
    #[arg(long, value_name = "ID")]
    recipient: String,
    /// The merchant's name in a gateway's tokens
    #[arg(long, value_name = "ID")]
    gateway_merchant_id: Option<String>,
    /// The merchant's id in Google's console, for the payment page's button, where the recipient is a gateway
    #[arg(long, value_name = "ID")]
    merchant_id: Option<String>,
    /// The private key, PEM or the base64 of PKCS#8
    #[arg(long, value_name = "FILE")]
    key: std::path::PathBuf,
    /// Google's root signing keys, the file keys.json
    #[arg(long, value_name = "FILE")]
    roots: std::path::PathBuf,
}

#[derive(Args)]
pub struct AddApple {
    #[command(flatten)]
    place: Place,
    /// The payment processing certificate, PEM
    #[arg(long, value_name = "FILE")]
    cert: std::path::PathBuf,
    /// Its private key, PEM
    #[arg(long, value_name = "FILE")]
    key: std::path::PathBuf,
    /// The merchant identity certificate, PEM: with it the payment page has a button
    #[arg(long, value_name = "FILE", requires = "identity_key")]
    identity_cert: Option<std::path::PathBuf>,
    /// Its private key, PEM
    #[arg(long, value_name = "FILE", requires = "identity_cert")]
    identity_key: Option<std::path::PathBuf>,
    /// Another root than Apple Root CA - G3, PEM: for tests, not with --live
    #[arg(long, value_name = "FILE")]
    root: Option<std::path::PathBuf>,
}

#[derive(Args)]
struct Place {
    /// The merchant that takes the tokens
    #[arg(long, value_name = "ID")]
    merchant: String,
    /// For live money, not for tests
    #[arg(long)]
    live: bool,
    /// Print one JSON object
    #[arg(long)]
    json: bool,
}

pub async fn wallet(config: &Config, command: WalletCommand) -> Result<(), Error> {
    let store = Store::open_existing(config).await?;
    let done = match command {
        WalletCommand::Add(AddWallet::Googlepay(args)) => google(&store, args).await,
        WalletCommand::Add(AddWallet::Applepay(args)) => apple(&store, args).await,
        WalletCommand::List { json } => list(&store, json).await,
        WalletCommand::Remove { id, json } => remove(&store, &id, json).await,
    };
    store.db.close().await;
    done
}

async fn google(store: &Store, args: AddGoogle) -> Result<(), Error> {
    let settings = Settings::GooglePay {
        recipient: args.recipient,
        gateway_merchant_id: args.gateway_merchant_id,
        merchant_id: args.merchant_id,
        private_key: secret(&args.key)?,
        roots: read(&args.roots)?,
    };
    add(store, args.place, settings).await
}

async fn apple(store: &Store, args: AddApple) -> Result<(), Error> {
    let identity = args.identity_cert.as_deref().zip(args.identity_key.as_deref());
    let identity = identity
        .map(|(certificate, key)| Ok::<_, Error>(Files { certificate: read(certificate)?, private_key: secret(key)? }));
    let settings = Settings::ApplePay {
        certificate: read(&args.cert)?,
        private_key: secret(&args.key)?,
        root: args.root.as_deref().map(read).transpose()?,
        identity: identity.transpose()?,
    };
    add(store, args.place, settings).await
}

async fn add(store: &Store, place: Place, settings: Settings) -> Result<(), Error> {
    settings.check(place.live).map_err(Error::internal)?;
    let merchants = store.directory.merchants().await?;
    let merchant = merchants.into_iter().find(|merchant| merchant.id == place.merchant);
    let merchant =
        merchant.ok_or_else(|| Error::internal("there is no such merchant: fuda merchant list shows them"))?;
    let caller = Caller { entity: merchant.entity, live: place.live };
    let author = Author { who: &operator(), now: store.clock.now() };
    let parts = (&store.db, &store.vault, &store.random);
    let id = setup::add(parts, &author, (caller, &merchant.id), &settings).await?;
    let (wallet, about) = (settings.wallet().name(), settings.about());
    if place.json {
        println!("{}", line(&id, wallet, &merchant.id, caller.live, Some(&about), author.now));
    } else {
        println!("{id}: {} takes {wallet} tokens ({about}) within a second.", merchant.id);
        println!(
            "Send them as payment_method {{\"type\":\"{wallet}\",\"token\":…}}; delete the key's file when it is kept safe."
        );
    }
    Ok(())
}

fn line(id: &str, wallet: &str, merchant: &str, live: bool, about: Option<&str>, at: i64) -> Value {
    json!({"id": id, "wallet": wallet, "merchant_id": merchant, "is_live": live, "about": about, "created": timestamp(at)})
}

async fn list(store: &Store, json: bool) -> Result<(), Error> {
    let all = setup::list(&store.db, &store.vault).await?;
    if json {
        let view = |one: &SetUp| {
            let (wallet, live) = (one.wallet.name(), one.caller.live);
            line(&one.id, wallet, &one.merchant_id, live, one.about.as_deref(), one.created_at)
        };
        println!("{}", json!({"wallets": all.iter().map(view).collect::<Vec<_>>()}));
        return Ok(());
    }
    if all.is_empty() {
        println!("No wallets: fuda wallet add googlepay and fuda wallet add applepay set one up.");
    }
    for one in all {
        let mode = if one.caller.live { "live" } else { "test" };
        let about =
            one.about.unwrap_or_else(|| "CANNOT BE READ and is not in force: remove it, add it again".to_owned());
        println!("{}  {mode}  {}  {:9}  {about}", one.id, one.merchant_id, one.wallet.name());
    }
    Ok(())
}

async fn remove(store: &Store, id: &str, json: bool) -> Result<(), Error> {
    let author = Author { who: &operator(), now: store.clock.now() };
    if !setup::remove(&store.db, &author, id).await? {
        return Err(Error::internal("there is no such wallet: fuda wallet list shows them"));
    }
    if json {
        println!("{}", json!({"id": id, "removed": true}));
    } else {
        println!("{id} is removed, its private key destroyed; out of force everywhere within a second.");
    }
    Ok(())
}

fn secret(path: &Path) -> Result<Zeroizing<String>, Error> {
    read(path).map(Zeroizing::new)
}

/// A file of an operator's; a mebibyte is more than any of them has.
fn read(path: &Path) -> Result<String, Error> {
    let unreadable = |error: &dyn std::fmt::Display| Error::internal(format!("{}: {error}", path.display()));
    let size = std::fs::metadata(path).map_err(|error| unreadable(&error))?.len();
    if size > 1 << 20 {
        return Err(unreadable(&"it is too large"));
    }
    std::fs::read_to_string(path).map_err(|error| unreadable(&error))
}

//! `fuda merchant three-ds`: when a merchant's charges are authenticated.

use super::books::operator;
use super::store::Store;
use crate::directory::{ThreeDs, Unavailable, When};
use crate::error::Error;
use clap::Args;

#[derive(Args)]
pub struct ThreeDsArgs {
    /// The merchant ID, as `fuda merchant list` shows it
    id: String,
    /// `off`, `when-asked` (by the card's issuer), `always`, or as the issuer asks and above an amount: `above:JPY=10000,USD=100`
    #[arg(long, value_name = "WHEN", value_parser = when, required_unless_present = "unavailable")]
    when: Option<When>,
    /// What becomes of a charge when authentication is not possible: `decline`, or `continue` without liability shift
    #[arg(long, value_name = "decline|continue", value_parser = unavailable)]
    unavailable: Option<Unavailable>,
    /// Print one JSON object
    #[arg(long)]
    json: bool,
}

fn when(text: &str) -> Result<When, String> {
    When::parse(text).ok_or_else(|| "one of: off, when-asked, always, above:JPY=10000,USD=100".to_owned())
}

fn unavailable(text: &str) -> Result<Unavailable, String> {
    Unavailable::parse(text).ok_or_else(|| "one of: decline, continue".to_owned())
}

pub async fn set(store: &Store, args: ThreeDsArgs) -> Result<(), Error> {
    let unknown = || Error::internal("there is no such merchant: fuda merchant list shows them");
    let merchants = store.directory.merchants().await?;
    let before = merchants.into_iter().find(|merchant| merchant.id == args.id).ok_or_else(unknown)?.three_ds;
    let policy =
        ThreeDs { when: args.when.unwrap_or(before.when), unavailable: args.unavailable.unwrap_or(before.unavailable) };
    if !store.directory.set_three_ds(&args.id, &policy, &operator(), &store.clock).await? {
        return Err(unknown());
    }
    let (when, unavailable) = policy.texts();
    if args.json {
        println!("{}", serde_json::json!({"merchant_id": args.id, "when": when, "unavailable": unavailable}));
    } else {
        println!(
            "3-D Secure of {}: {when}; where it is not possible: {unavailable}. In force within a second.",
            args.id
        );
    }
    Ok(())
}

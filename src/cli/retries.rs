//! `fuda merchant retries`: when a merchant's declined renewals are tried again.

use super::books::operator;
use super::store::Store;
use crate::directory::RetryDays;
use crate::error::Error;
use clap::Args;

#[derive(Args)]
pub struct RetriesArgs {
    /// The merchant ID, as `fuda merchant list` shows it
    id: String,
    /// Days after the first failure, such as 1,3,5 (one to ten, growing, at most 60), or `none`; without it they are shown
    #[arg(long, value_name = "DAYS", value_parser = days)]
    days: Option<RetryDays>,
    /// Print one JSON object
    #[arg(long)]
    json: bool,
}

fn days(text: &str) -> Result<RetryDays, String> {
    let say = "one to ten whole days from 1 to 60, each later than the one before, such as 1,3,5; or: none";
    RetryDays::parse(text).ok_or_else(|| say.to_owned())
}

pub async fn retries(store: &Store, args: RetriesArgs) -> Result<(), Error> {
    let unknown = || Error::internal("there is no such merchant: fuda merchant list shows them");
    let changed = args.days.is_some();
    let days = match args.days {
        Some(days) => {
            let done = store.directory.set_retry_days(&args.id, &days, &operator(), &store.clock).await?;
            done.then_some(days).ok_or_else(unknown)?
        }
        None => {
            let merchants = store.directory.merchants().await?;
            merchants.into_iter().find(|merchant| merchant.id == args.id).ok_or_else(unknown)?.retry_days
        }
    };
    let id = args.id;
    if args.json {
        println!("{}", serde_json::json!({"merchant_id": id, "retry_days": days.days()}));
        return Ok(());
    }
    if days.days().is_empty() {
        println!("A declined renewal of merchant {id} is not tried again.");
    } else {
        let list = days.text().replace(',', ", ");
        println!("A declined renewal of merchant {id} is tried again, in days after its first failure: {list}.");
    }
    if changed {
        println!("In force within a second.");
    } else {
        println!("To change it: fuda merchant retries {id} --days {}", RetryDays::default().text());
    }
    Ok(())
}

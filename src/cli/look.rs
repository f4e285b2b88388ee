//! `fuda merchant page`: how a merchant's payment pages look.

use super::books::operator;
use super::store::Store;
use crate::directory::look::{self, FRAMES_LIMIT, LOGO_LIMIT, Logo, LookChange};
use crate::error::Error;
use crate::page::assets;
use clap::Args;
use std::io::Read as _;

#[derive(Args)]
pub struct PageArgs {
    /// As `fuda merchant list` shows it
    id: String,
    /// Colour of the pay button, behind white text: #0a7d5a
    #[arg(long, value_name = "COLOUR", required_unless_present_any = ["logo", "frame_ancestors"])]
    accent: Option<String>,
    /// PNG; at most 64 KiB
    #[arg(long, value_name = "FILE")]
    logo: Option<String>,
    /// Origins (https) that may show the pages in a frame, separated by commas; none otherwise
    #[arg(long, value_name = "ORIGINS")]
    frame_ancestors: Option<String>,
    /// Print one JSON object
    #[arg(long)]
    json: bool,
}

pub async fn page(store: &Store, args: PageArgs) -> Result<(), Error> {
    let change = LookChange {
        accent: args.accent.as_deref().map(accent).transpose()?,
        logo: args.logo.as_deref().map(logo).transpose()?,
        framed_by: args.frame_ancestors.as_deref().map(frames).transpose()?,
    };
    if !store.directory.set_look(&args.id, change, &operator(), &store.clock).await? {
        return Err(Error::internal("there is no such merchant: fuda merchant list shows them"));
    }
    let merchants = store.directory.merchants().await?;
    let look = merchants.into_iter().find(|merchant| merchant.id == args.id).map(|merchant| merchant.look);
    let look = look.unwrap_or_default();
    let accent = look.accent.map(|accent| format!("#{accent}"));
    if args.json {
        let line = serde_json::json!({"merchant_id": args.id, "accent": accent, "logo": look.logo,
            "frame_ancestors": look.framed_by});
        println!("{line}");
        return Ok(());
    }
    let or_none = |text: Option<String>| text.unwrap_or_else(|| "none".to_owned());
    println!("Pages of merchant {}, in force within a second:", args.id);
    println!("  accent:          {}", or_none(accent));
    println!("  logo:            {}", or_none(look.logo));
    let frames = Some(look.framed_by.join(", ")).filter(|text| !text.is_empty());
    println!("  may be framed by {}", or_none(frames));
    Ok(())
}

fn accent(text: &str) -> Result<String, Error> {
    if text.is_empty() {
        return Ok(String::new());
    }
    look::accent(text).map_err(|wrong| Error::internal(format!("--accent: {wrong}")))
}

fn logo(path: &str) -> Result<Logo, Error> {
    if path.is_empty() {
        return Ok(Logo { name: String::new(), bytes: Vec::new() });
    }
    let say = |error: std::io::Error| Error::internal(format!("--logo: cannot read {path}: {error}"));
    let mut bytes = Vec::new();
    // One byte more than a logo may have tells that there is more.
    let limit = LOGO_LIMIT as u64 + 1;
    std::fs::File::open(path).map_err(say)?.take(limit).read_to_end(&mut bytes).map_err(say)?;
    look::logo(bytes, assets::hash).map_err(|wrong| Error::internal(format!("--logo: {wrong}")))
}

fn frames(text: &str) -> Result<Vec<String>, Error> {
    let origins = text.split(',').map(str::trim).filter(|origin| !origin.is_empty());
    let origins: Vec<String> = origins
        .map(look::frame)
        .collect::<Result<_, String>>()
        .map_err(|wrong| Error::internal(format!("--frame-ancestors: {wrong}")))?;
    if origins.len() > FRAMES_LIMIT {
        return Err(Error::internal(format!("--frame-ancestors: at most {FRAMES_LIMIT} origins")));
    }
    Ok(origins)
}

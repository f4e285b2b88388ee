use crate::config::Config;
use crate::error::Error;
use clap::Args;

#[derive(Args)]
pub struct BenchArgs {}

pub async fn bench(_: &Config, _: BenchArgs) -> Result<(), Error> {
    Ok(())
}

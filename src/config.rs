//! Where settings come from: the command line, then `FUDA_…` in the environment, then the TOML file, then the defaults.

use crate::error::Error;
use crate::proxies::Proxies;
use crate::webhook::guard::PORTS;
use clap::{Args, Parser};
use serde::Deserialize;
use std::path::{Path, PathBuf};

/// Settings that every subcommand understands.
#[derive(Args, Clone, Default)]
#[command(next_help_heading = "Settings")]
pub struct GlobalArgs {
    /// Folder of the database, the sandbox's vault key and the sandbox bank [default: fuda-data]
    #[arg(long, global = true, env = "FUDA_DATA", value_name = "DIR")]
    pub data: Option<PathBuf>,
    /// PostgreSQL instead of SQLite: postgres://user:password@host/database
    #[arg(long, global = true, env = "FUDA_DATABASE_URL", value_name = "URL", hide_env_values = true)]
    pub database_url: Option<String>,
    /// TOML file with any of these settings: data, database_url, listen, ...
    #[arg(long, global = true, env = "FUDA_CONFIG", value_name = "FILE")]
    pub config: Option<PathBuf>,
    /// File of the vault key, outside of --data for live keys [default: DIR/vault.key]
    #[arg(long, global = true, env = "FUDA_VAULT_KEY_FILE", value_name = "FILE")]
    pub vault_key_file: Option<PathBuf>,
    /// File of the sandbox bank's books [default: DIR/sandbox-bank.db]
    #[arg(long, global = true, env = "FUDA_SANDBOX_BANK", value_name = "PATH")]
    pub sandbox_bank: Option<PathBuf>,
    /// TOML file with the acquirers' hosts, each under [acquirers.NAME] [default: the sandbox alone]
    #[arg(long, global = true, env = "FUDA_ACQUIRERS", value_name = "FILE")]
    pub acquirers: Option<PathBuf>,
}

/// Settings of `serve`.
#[derive(Args, Clone, Default)]
pub struct ServeArgs {
    /// Address and port to listen on [default: 127.0.0.1:8080]
    #[arg(long, env = "FUDA_LISTEN", value_name = "ADDR")]
    pub listen: Option<String>,
    /// Where cardholders' browsers reach this gateway [default: http://LISTEN]
    #[arg(long, env = "FUDA_CHECKOUT_URL", value_name = "URL")]
    pub checkout_url: Option<String>,
    /// `human` or `json` [default: human]
    #[arg(long, env = "FUDA_LOG_FORMAT", value_name = "FORMAT")]
    pub log_format: Option<String>,
    /// Whether test webhooks may go to addresses that are not public; refused with live keys [default: true when listening
    /// on loopback]
    #[arg(long, env = "FUDA_ALLOW_PRIVATE_WEBHOOKS", value_name = "true|false")]
    pub allow_private_webhooks: Option<bool>,
    /// Ports that webhooks may go to, separated by commas [default: 80,443,8080,8443]
    #[arg(long, env = "FUDA_WEBHOOK_PORTS", value_name = "PORTS", value_delimiter = ',')]
    pub webhook_ports: Option<Vec<u16>>,
    /// Networks of the proxies whose `X-Forwarded-For` is believed, such as 10.0.0.0/8,2001:db8::/32 [default: none]
    #[arg(long, env = "FUDA_TRUSTED_PROXIES", value_name = "NETS", value_delimiter = ',')]
    pub trusted_proxies: Option<Vec<String>>,
}

impl ServeArgs {
    /// What the command line would have read by itself, had it named the subcommand.
    pub fn from_environment() -> ServeArgs {
        Plain::parse_from(["fuda"]).serve
    }
}

#[derive(Parser)]
struct Plain {
    #[command(flatten)]
    serve: ServeArgs,
}

/// The TOML file; a key that is not one of these is refused, since it is a typing mistake.
#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    data: Option<PathBuf>,
    database_url: Option<String>,
    vault_key_file: Option<PathBuf>,
    listen: Option<String>,
    checkout_url: Option<String>,
    sandbox_bank: Option<PathBuf>,
    acquirers: Option<PathBuf>,
    log_format: Option<String>,
    allow_private_webhooks: Option<bool>,
    webhook_ports: Option<Vec<u16>>,
    trusted_proxies: Option<Vec<String>>,
}

#[derive(Clone)]
pub struct Config {
    pub data: PathBuf,
    pub database_url: Option<String>,
    /// Not read from the file: a key in a settings file is a key in a backup.
    pub vault_key: Option<String>,
    pub vault_key_file: PathBuf,
    pub listen: String,
    pub checkout_url: Option<String>,
    pub sandbox_bank: PathBuf,
    pub acquirers: Option<PathBuf>,
    pub json_logs: bool,
    /// As the operator said; `None`: by the address that is listened on.
    pub allow_private_webhooks: Option<bool>,
    pub webhook_ports: Vec<u16>,
    pub trusted_proxies: Proxies,
}

impl Config {
    pub fn read(global: &GlobalArgs, serve: &ServeArgs) -> Result<Config, Error> {
        let file = match &global.config {
            Some(path) => read_file(path)?,
            None => File::default(),
        };
        let data = global.data.clone().or(file.data).unwrap_or_else(|| PathBuf::from("fuda-data"));
        let log_format = serve.log_format.clone().or(file.log_format).unwrap_or_else(|| "human".to_owned());
        if !matches!(log_format.as_str(), "human" | "json") {
            return Err(Error::internal("--log-format is `human` or `json`"));
        }
        let checkout_url = serve.checkout_url.clone().or(file.checkout_url);
        if let Some(text) = &checkout_url
            && !url::Url::parse(text).is_ok_and(|url| matches!(url.scheme(), "http" | "https") && url.has_host())
        {
            return Err(Error::internal("--checkout-url is not an absolute http or https URL"));
        }
        let nets = serve.trusted_proxies.clone().or(file.trusted_proxies).unwrap_or_default();
        let trusted_proxies = Proxies::parse(nets.iter().map(String::as_str))
            .map_err(|wrong| Error::internal(format!("--trusted-proxies: {wrong}")))?;
        Ok(Config {
            database_url: global.database_url.clone().or(file.database_url).filter(|url| !url.is_empty()),
            vault_key: std::env::var("FUDA_VAULT_KEY").ok().filter(|key| !key.is_empty()),
            vault_key_file: global
                .vault_key_file
                .clone()
                .or(file.vault_key_file)
                .unwrap_or_else(|| data.join("vault.key")),
            listen: serve.listen.clone().or(file.listen).unwrap_or_else(|| "127.0.0.1:8080".to_owned()),
            checkout_url,
            sandbox_bank: global
                .sandbox_bank
                .clone()
                .or(file.sandbox_bank)
                .unwrap_or_else(|| data.join("sandbox-bank.db")),
            acquirers: global.acquirers.clone().or(file.acquirers),
            json_logs: log_format == "json",
            allow_private_webhooks: serve.allow_private_webhooks.or(file.allow_private_webhooks),
            webhook_ports: serve.webhook_ports.clone().or(file.webhook_ports).unwrap_or_else(|| PORTS.to_vec()),
            trusted_proxies,
            data,
        })
    }

    /// A key beside the data is no protection of the data (PCI DSS 3.6.1.2): good for a sandbox only.
    pub fn key_is_beside_data(&self) -> bool {
        let real = |path: &Path| path.canonicalize().unwrap_or_else(|_| path.to_owned());
        let folder = self.vault_key_file.parent().map(real).unwrap_or_default();
        self.vault_key.is_none() && folder.starts_with(real(&self.data))
    }
}

fn read_file(path: &Path) -> Result<File, Error> {
    let text = std::fs::read_to_string(path)
        .map_err(|error| Error::internal(format!("cannot read {}: {error}", path.display())))?;
    // The parser's own text would quote the line, which may hold a password.
    toml::from_str(&text).map_err(|error| Error::internal(format!("{}: {}", path.display(), error.message())))
}

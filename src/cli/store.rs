//! Opening the store: database, vault and directory, with one clear line when something is not as it must be.

use crate::clock::Clock;
use crate::config::Config;
use crate::db::{Db, Durability, MIGRATIONS, SchemaState};
use crate::directory::Directory;
use crate::error::Error;
use crate::random::Random;
use crate::vault::{KeySource, Vault};
use std::os::unix::fs::DirBuilderExt;

pub struct Store {
    pub db: Db,
    pub vault: Vault,
    pub directory: Directory,
    pub clock: Clock,
    pub random: Random,
}

impl Store {
    /// Opens what is there, and makes it on an empty folder or database.
    pub async fn open(config: &Config) -> Result<Store, Error> {
        let (clock, random) = (Clock::system(), Random::system());
        let db = open_database(config, &clock).await?;
        prepare_schema(&db).await?;
        let source = match &config.vault_key {
            Some(key) => KeySource::Environment(key.clone()),
            None => KeySource::File(config.vault_key_file.clone()),
        };
        let vault = Vault::open(&db, &source, &clock, &random).await?;
        let directory = Directory::load(&db, &vault).await?;
        let store = Store { db, vault, directory, clock, random };
        store.check_live(config, store.directory.has_live_keys()).await?;
        Ok(store)
    }

    /// For commands that only look: a mistyped --data must not become an empty store that is found to be in order.
    pub async fn open_existing(config: &Config) -> Result<Store, Error> {
        if config.database_url.is_none() && !config.data.join("fuda.db").exists() {
            let place = config.data.display();
            return Err(Error::internal(format!("there is no database in {place}: --data names its folder")));
        }
        Store::open(config).await
    }

    /// What live money needs and a sandbox does not.
    pub async fn check_live(&self, config: &Config, live: bool) -> Result<(), Error> {
        if !live {
            return Ok(());
        }
        if config.key_is_beside_data() {
            return Err(Error::internal(
                "the vault key lies beside the data, which is for the sandbox only (PCI DSS 3.6.1.2): with a live key \
                 give it by --vault-key-file from another place, or in FUDA_VAULT_KEY",
            ));
        }
        match self.db.durability_problem().await? {
            Some(problem) => {
                Err(Error::internal(format!("with a live key the database must not lose payments: {problem}")))
            }
            None => Ok(()),
        }
    }
}

pub async fn open_database(config: &Config, clock: &Clock) -> Result<Db, Error> {
    // The data folder also holds the sandbox's key and bank when the database is PostgreSQL.
    let made = std::fs::DirBuilder::new().recursive(true).mode(0o700).create(&config.data);
    made.map_err(|error| Error::internal(format!("cannot make the data folder {}: {error}", config.data.display())))?;
    match &config.database_url {
        Some(url) => Db::connect_postgres(url, clock.clone()).await,
        None => {
            let path = config.data.join("fuda.db");
            Db::open_sqlite(&path, Durability::Full)
                .map_err(|error| error.context(&format!("cannot open {}", path.display())))
        }
    }
}

/// An empty database is filled; on SQLite an older one is brought up to date, on PostgreSQL that is `fuda migrate`'s.
async fn prepare_schema(db: &Db) -> Result<(), Error> {
    match db.schema_state(MIGRATIONS).await? {
        SchemaState::Current => Ok(()),
        SchemaState::Empty => db.migrate(MIGRATIONS).await.map(|_| ()),
        SchemaState::Older { .. } if db.is_sqlite() => db.migrate(MIGRATIONS).await.map(|_| ()),
        SchemaState::Older { have, want } => Err(Error::internal(format!(
            "the database has schema {have}, this version needs {want}: run `fuda migrate`"
        ))),
        SchemaState::Newer { have, want } => Err(Error::internal(format!(
            "the database has schema {have}, this version knows {want}: it was used by a newer fuda; run that one"
        ))),
    }
}

pub async fn migrate(config: &Config, json: bool) -> Result<(), Error> {
    let db = open_database(config, &Clock::system()).await?;
    if let SchemaState::Newer { have, want } = db.schema_state(MIGRATIONS).await? {
        return Err(Error::internal(format!("the database has schema {have}, this version knows {want} only")));
    }
    let applied = db.migrate(MIGRATIONS).await?;
    let version = MIGRATIONS.last().map_or(0, |migration| migration.version);
    if json {
        println!("{}", serde_json::json!({"applied": applied, "version": version}));
    } else if applied == 0 {
        println!("The database is at schema {version} already.");
    } else {
        println!("{applied} migration(s) applied; the database is at schema {version}.");
    }
    db.close().await;
    Ok(())
}

//! Two rules of the house, read from the sources: imports go down the list of `lib.rs`, and a card number is exposed in
//! the listed places only.

use std::path::{Path, PathBuf};

/// The lower the rank, the deeper the layer; a module imports its own rank's modules only where the list says so.
const RANKS: [(&str, u32); 38] = [
    ("acceptor", 0),
    ("address", 0),
    ("card", 0),
    ("clock", 0),
    ("codes", 0),
    ("error", 0),
    ("id", 0),
    ("json", 0),
    ("language", 0),
    ("money", 0),
    ("proxies", 0),
    ("random", 0),
    // It counts by a stopwatch.
    ("rate", 1),
    ("response_codes", 0),
    ("tls", 0),
    ("db", 1),
    ("vault", 2),
    ("jobs", 2),
    ("audit", 2),
    ("bins", 3),
    ("ledger", 3),
    ("directory", 3),
    ("acquirer", 3),
    ("webhook", 4),
    ("risk", 4),
    ("subscription", 4),
    ("threeds", 4),
    ("consent", 4),
    ("wallet", 4),
    ("app", 5),
    ("pay", 6),
    ("page", 7),
    ("http", 8),
    ("config", 9),
    ("telemetry", 9),
    ("cli", 10),
    ("lib", 11),
    ("main", 11),
];

/// File and how often it calls `expose()` outside its tests.
const EXPOSED: [(&str, usize); 6] = [
    // A message to the bank: the number, the cvc, a device's cryptogram.
    ("acquirer/iso8583/operation.rs", 3),
    ("acquirer/sandbox/cards.rs", 2),
    ("card.rs", 1),
    // The AReq, and the sandbox's issuer, which knows its cards.
    ("threeds/messages.rs", 1),
    ("threeds/sandbox.rs", 1),
    ("vault/mod.rs", 3),
];

fn sources(folder: &Path, found: &mut Vec<PathBuf>) {
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            sources(&path, found);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            found.push(path);
        }
    }
}

/// Path below `src/`, and the text before its tests.
fn files() -> Vec<(String, String)> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut found = Vec::new();
    sources(&root, &mut found);
    found.sort();
    let read = |path: &PathBuf| {
        let text = std::fs::read_to_string(path).unwrap();
        let name = path.strip_prefix(&root).unwrap().display().to_string();
        (name, text.split("#[cfg(test)]\nmod tests {").next().unwrap_or_default().to_owned())
    };
    found.iter().map(read).collect()
}

fn rank(module: &str) -> u32 {
    RANKS.iter().find(|row| row.0 == module).unwrap_or_else(|| panic!("{module} is not in the list of layers")).1
}

#[test]
fn imports_go_down() {
    for (file, text) in files() {
        let own = file.split(['/', '.']).next().unwrap().to_owned();
        for import in text.split("crate::").skip(1) {
            let name: String = import.chars().take_while(|c| c.is_alphanumeric() || *c == '_').collect();
            // `crate::args!` is the database's macro.
            if name == own || name == "args" || name.is_empty() {
                continue;
            }
            let (from, to) = (rank(&own), rank(&name));
            assert!(
                to < from || (from == 0 && to == 0) || (own == "pay" && name == "app"),
                "{file} imports {name}: up the list"
            );
        }
    }
}

#[test]
fn numbers_are_exposed_where_the_list_says() {
    let found: Vec<(String, usize)> = files()
        .into_iter()
        .map(|(file, text)| (file, text.matches(".expose()").count()))
        .filter(|(_, count)| *count > 0)
        .collect();
    let listed: Vec<(String, usize)> = EXPOSED.iter().map(|(file, count)| ((*file).to_owned(), *count)).collect();
    assert_eq!(found, listed);
}

#[test]
fn files_are_short() {
    for (file, text) in files() {
        assert!(text.lines().count() <= 400, "{file} has {} lines", text.lines().count());
    }
}

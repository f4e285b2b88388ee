//! What a card number's first digits tell: a table that an operator imports while the gateway runs.

use crate::operator::refused;
use crate::world::{Engine, World, fuda};
use serde_json::{Value, json};
use std::fmt::Write as _;
use std::io::Write as _;
use std::path::PathBuf;
use std::process::Stdio;
use std::time::Instant;

impl World {
    fn bin_file(&self, text: impl AsRef<[u8]>) -> PathBuf {
        let path = self.folder.join("bins.csv");
        std::fs::write(&path, text).unwrap();
        path
    }

    fn import(&self, text: &str) -> Value {
        let path = self.bin_file(text);
        serde_json::from_str(&self.run(&["bin", "import", path.to_str().unwrap(), "--json"])).unwrap()
    }

    fn refused_import(&self, text: impl AsRef<[u8]>) -> Vec<String> {
        let path = self.bin_file(text);
        let mut command = fuda(&self.folder, self.database_url.as_deref());
        let output = command.args(["bin", "import"]).arg(&path).output().unwrap();
        let text = String::from_utf8(output.stderr).unwrap();
        assert_eq!((output.status.code(), output.stdout.len()), (Some(1), 0), "{text}");
        assert!(!text.contains("4111111111111111"), "{text}");
        text.replace(path.to_str().unwrap(), "FILE").lines().map(str::to_owned).collect()
    }

    /// Each is a process of its own.
    fn shown(&self, bin: &str) -> Value {
        serde_json::from_str(&self.run(&["bin", "show", bin, "--json"])).unwrap()
    }

    fn countries(&self, bin: &str) -> Vec<String> {
        let shown = self.shown(bin);
        shown["ranges"]
            .as_array()
            .unwrap()
            .iter()
            .map(|one| one["country"].as_str().unwrap_or("-").to_owned())
            .collect()
    }
}

pub async fn imported_and_looked_up(engine: Engine) {
    let world = World::new(engine).await;
    // What is built in: the sandbox's card, and around it the scheme alone.
    let around = |first: &str, last: &str, scheme: &str| {
        json!({"bin_start": first, "bin_end": last, "country": null, "issuer_country": null, "funding": null,
            "scheme": scheme, "issuer": null})
    };
    let sandbox = json!({"bin_start": "41111111111", "bin_end": "41111111111", "country": "US", "issuer_country": "GB",
        "funding": "credit", "scheme": "VISA", "issuer": "Sandbox Bank London"});
    let ranges =
        json!([around("41111100000", "41111111110", "VISA"), sandbox, around("41111111112", "41111199999", "VISA")]);
    assert_eq!(world.shown("411111"), json!({"table": "built-in", "ranges": ranges, "more": false}));
    assert_eq!(world.shown("900000"), json!({"table": "built-in", "ranges": [], "more": false}));
    let said = world.import(
        "Issuer,Notes,BIN_START,bin_end,country,issuer_country,funding\n\
         \"三井, 住友\",x,411111,,jp,,Credit\n# a comment\n,,41111111,41111112,FR,GB,prepaid\n,,900000,900009,,,\n",
    );
    assert_eq!(
        (&said["ranges"], &said["generation"], &said["ignored_columns"]),
        (&json!(3), &json!(1), &json!(["notes"]))
    );
    assert_eq!(world.countries("411111"), ["JP", "FR", "JP"]);
    let narrow = json!({"bin_start": "411111119", "bin_end": "411111119", "country": "FR", "issuer_country": "GB",
        "funding": "prepaid", "scheme": null, "issuer": null});
    assert_eq!(world.shown("411111119"), json!({"table": "imported", "ranges": [narrow], "more": false}));
    let wide = &world.shown("4111110")["ranges"][0];
    assert_eq!((&wide["issuer"], &wide["issuer_country"]), (&json!("三井, 住友"), &json!("JP")));
    // Of what the import does not cover the built-in table speaks.
    assert_eq!(world.shown("520000")["table"], "built-in");
    assert_eq!(world.countries("900009"), ["-"]);
    // The next import replaces the whole of it, and a gateway that runs beside it goes on.
    let mut child = fuda(&world.folder, world.database_url.as_deref())
        .args(["bin", "import", "-"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    child.stdin.take().unwrap().write_all(b"bin,country\r\n520000,DE").unwrap();
    let output = child.wait_with_output().unwrap();
    assert!(output.status.success() && String::from_utf8_lossy(&output.stdout).starts_with("1 ranges are imported"));
    assert_eq!(
        (world.countries("520000"), world.shown("411111")["table"].clone()),
        (vec!["DE".to_owned()], json!("built-in"))
    );
    world.run(&["bin", "clear"]);
    assert_eq!(world.countries("520000")[0], "JP");
    let charge = world.card_charge("5200000000001005");
    assert_eq!(world.post("payment", &charge).await.0, 201);
    for (bin, says) in [
        ("4111111111111111", "clear your history"),
        ("4111 1111 1111 1111", "clear your history"),
        ("41111", "first 6 to 11 digits"),
        ("４１１１１１", "first 6 to 11 digits"),
    ] {
        let text = refused(fuda(&world.folder, world.database_url.as_deref()).args(["bin", "show", bin]));
        assert!(text.contains(says) && !text.contains(bin), "{text}");
    }
    let deeds = world.deeds("bin.").await;
    assert_eq!(deeds, ["bin.import bins 3 ranges", "bin.import bins 1 ranges", "bin.clear bins "]);
}

/// 65536 bytes a row, a million ranges, and a process that reads them.
pub async fn a_million_ranges(engine: Engine) {
    let world = World::new(engine).await;
    let mut text = String::from("bin_start,bin_end,country,funding,issuer\n");
    for number in 0..1_000_000_u64 {
        let (first, funding) =
            (400_000_000 + number * 9, ["credit", "debit", "prepaid", "charge"][(number % 4) as usize]);
        let letter = char::from(b'A' + (number % 26) as u8);
        writeln!(text, "{first},{},J{letter},{funding},Issuer {}", first + 6, number % 40_000).unwrap();
    }
    let started = Instant::now();
    let said = world.import(&text);
    let took = started.elapsed();
    println!("{engine:?}: a million ranges in {} ms, the command {} ms", said["ms"], took.as_millis());
    assert_eq!(said["ranges"], 1_000_000);
    assert!(took.as_secs() < 60, "{took:?}");
    let last = world.shown("408999991");
    assert_eq!((&last["ranges"][0]["country"], &last["ranges"][0]["issuer"]), (&json!("JN"), &json!("Issuer 39999")));
    // Between two ranges nothing is imported.
    assert_eq!(world.shown("400000007")["table"], "built-in");
    assert_eq!((world.shown("400000")["more"].clone(), world.countries("400000").len()), (json!(true), 50));
    // The gateway, which reads the table meanwhile, pays as before.
    let charge = world.card_charge("4111111111111111");
    for _ in 0..5 {
        assert_eq!(world.post("payment", &charge).await.0, 201);
        tokio::time::sleep(std::time::Duration::from_millis(200)).await;
    }
}

/// Nothing of a bad file is in force, and each fault says where it is.
pub async fn bad_files(engine: Engine) {
    let world = World::new(engine).await;
    world.import("bin,country\n420000,JP\n");
    let text = world.refused_import(
        "bin,country,funding,issuer\n430000,US,,\n43000,US,,\n430001,USA,,\n\n430002,US,gold,\n\
         4111111111111111,US,,\n430003,US,,4111 1111 1111 1111\n430004,US\n430005,UK,debit,\n",
    );
    assert_eq!(
        text,
        [
            "line 3: bin is not 6 to 11 digits",
            "line 4: country is not two letters, ISO 3166-1 alpha-2, such as JP",
            "line 6: funding is none of credit, debit, prepaid, charge",
            "line 7: bin has more than 11 digits: a whole card number must not be here",
            "line 8: issuer holds a card number",
            "line 9 has more or fewer fields than the first line has columns",
            "line 10: country is not UK but GB in ISO 3166-1",
            "fuda: FILE has these faults: nothing was imported",
        ]
    );
    for (file, says) in [
        (&b""[..], "FILE: the file is empty: its first line names the columns: nothing was imported"),
        (
            b"bin,country\n",
            "FILE: the file holds no range; to remove the imported table: fuda bin clear: nothing was imported",
        ),
        (b"bin,issuer\n430000,\xff\n", "FILE: line 2: issuer is not UTF-8: nothing was imported"),
        (b"\x00\x01\x02", "FILE: line 1 has either the column bin, or bin_start and bin_end"),
        (b"4111111111111111,JP\n", "FILE: line 1 names no columns"),
        (
            b"bin,country\n430000,JP\n430001,JP\n430000,US\n",
            "FILE: line 4: bin is the range of line 2 too, with other values: keep one of them: nothing was imported",
        ),
    ] {
        let text = world.refused_import(file);
        assert!(text.len() == 1 && text[0].starts_with(&format!("fuda: {says}")), "{text:?}");
    }
    let many = world.refused_import("bin\n".to_owned() + &"x\n".repeat(100));
    assert_eq!((many.len(), many[20].as_str()), (21, "fuda: FILE has these faults or more: nothing was imported"));
    let missing = refused(fuda(&world.folder, world.database_url.as_deref()).args(["bin", "import", "/no/such.csv"]));
    assert!(missing.contains("cannot open /no/such.csv: No such file"), "{missing}");
    assert_eq!(
        (world.countries("420000"), world.shown("430000")["table"].clone()),
        (vec!["JP".to_owned()], json!("built-in"))
    );
    // An import that broke off leaves parts behind; damage is said, not guessed around.
    world.sql("INSERT INTO bin_ranges (generation, part, data) SELECT 2, part, data FROM bin_ranges").await;
    world.sql("UPDATE bin_table SET drawn = 2").await;
    assert_eq!(world.import("bin,country\n420000,FR\n")["generation"], 3);
    assert_eq!(
        (world.countries("420000"), world.texts("SELECT COUNT(*) FROM bin_ranges").await),
        (vec!["FR".to_owned()], vec!["1".to_owned()])
    );
    world.sql("UPDATE bin_table SET parts = 2").await;
    let damaged = refused(fuda(&world.folder, world.database_url.as_deref()).args(["bin", "show", "420000"]));
    assert!(damaged.contains("parts of the BIN table are missing: import its file again"), "{damaged}");
}

/// Of imports at once the newest is in force, whole.
pub async fn imports_that_race(engine: Engine) {
    let world = World::new(engine).await;
    let letters = ['A', 'B', 'C', 'D'];
    let mut running = Vec::new();
    for letter in letters {
        let path = world.folder.join(format!("{letter}.csv"));
        let mut text = String::from("bin,country,issuer\n");
        for number in 0..20_000 {
            writeln!(text, "{},J{letter},{letter} {number}", 400_000_000 + number).unwrap();
        }
        std::fs::write(&path, text).unwrap();
        let mut command = fuda(&world.folder, world.database_url.as_deref());
        command.args(["bin", "import"]).arg(path).stdout(Stdio::piped()).stderr(Stdio::piped());
        running.push(command.spawn().unwrap());
    }
    let mut done = 0;
    for child in running {
        let output = child.wait_with_output().unwrap();
        let text = String::from_utf8(output.stderr).unwrap();
        done += u32::from(output.status.success());
        assert!(output.status.success() || text.contains("another import ended meanwhile"), "{text}");
    }
    assert!(done > 0);
    let countries: std::collections::BTreeSet<String> =
        ["400000000", "400010000", "400019999"].iter().map(|bin| world.countries(bin).join(",")).collect();
    assert!(
        countries.len() == 1 && letters.iter().any(|letter| countries.contains(&format!("J{letter}"))),
        "{countries:?}"
    );
    assert_eq!(world.texts("SELECT COUNT(DISTINCT generation) FROM bin_ranges").await, ["1"]);
}

//! `fuda acquirer`: which acquirers are set up, and what one says when it is tried. It needs no gateway and no store.

use crate::host::{GENERIC, Host, free_address};
use crate::world::{Engine, World, fuda};
use fuda::acquirer::iso8583::link::Language;
use fuda::acquirer::iso8583::message::Message;
use fuda::acquirer::iso8583::operation::Home;
use serde_json::{Value, json};
use std::io::Write as _;
use std::process::Stdio;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

/// Another card than the one that is tried when none is named.
const CARD: &str = "4000000000000002 11/39";

impl World {
    /// An acquirers file: each name with its mode and its address.
    fn acquirers_file(&self, acquirers: &[(&str, &str, &str)], settings: &str) {
        let one = |(name, mode, address): &(&str, &str, &str)| {
            let of =
                format!("[acquirers.{name}]\nprotocol = \"iso8583\"\nmode = \"{mode}\"\naddress = \"{address}\"\n");
            format!("{of}dialect = \"generic-1987\"\ndeadlines = {{ charge_ms = 1500 }}\n{settings}\n")
        };
        let text: String = acquirers.iter().map(one).collect();
        std::fs::write(self.folder.join("acquirers.toml"), text).unwrap();
    }

    /// `fuda acquirer ...` with that file and something on standard input: exit code, what it printed, its error.
    fn acquirer(&self, words: &[&str], stdin: &str) -> (i32, String, String) {
        let file = self.folder.join("acquirers.toml");
        let mut command = fuda(&self.folder, self.database_url.as_deref());
        command.arg("acquirer").args(words).arg("--acquirers").arg(file);
        let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        // One that does not read it may have ended.
        child.stdin.take().unwrap().write_all(stdin.as_bytes()).ok();
        let output = child.wait_with_output().unwrap();
        let (said, wrong) = (String::from_utf8(output.stdout).unwrap(), String::from_utf8(output.stderr).unwrap());
        for number in ["4000000000001091", "4000000000000002"] {
            assert!(!said.contains(number) && !wrong.contains(number), "a card number in {said}{wrong}");
        }
        assert!(wrong.lines().count() <= 1, "{wrong}");
        (output.status.code().unwrap(), said, wrong)
    }

    fn checked(&self, words: &[&str], stdin: &str) -> (i32, Value, String) {
        let (status, said, wrong) = self.acquirer(&[&["check", "acme", "--json"], words].concat(), stdin);
        assert_eq!(said.lines().count(), 1, "{said}");
        let said: Value = serde_json::from_str(&said).unwrap();
        // What broke it off stands in both.
        let error = said["error"].as_str().map_or(String::new(), |error| format!("fuda: {error}\n"));
        assert!(error.is_empty() || error == wrong, "{said} {wrong}");
        (status, said, wrong)
    }
}

/// With what differs each time taken out: the address, times, trace numbers, what the bank gives.
fn stable(said: &str, address: &str) -> String {
    let said = said.replace(address, "<address>");
    let line = |line: &str| {
        let mut words = line.split_whitespace();
        let field = words.next().unwrap_or_default();
        let drawn = ["7", "11", "12", "13", "37", "38", "48.63"].contains(&field) && line.starts_with("    ");
        if drawn {
            let kept = line.trim_end().rsplit_once(' ').unwrap().0;
            return format!("{kept} <drawn>");
        }
        match line.split_once(" ms") {
            Some((before, after)) => format!("{} <n> ms{after}", before.rsplit_once(' ').unwrap().0),
            None => line.to_owned(),
        }
    };
    said.lines().map(line).collect::<Vec<_>>().join("\n")
}

/// Message and verdict of each exchange.
fn told(said: &Value) -> Vec<String> {
    let one = |one: &Value| format!("{}: {}", one["message"].as_str().unwrap(), one["verdict"].as_str().unwrap_or("-"));
    said["exchanges"].as_array().unwrap().iter().map(one).collect()
}

/// A field of one of an exchange's messages.
fn field<'a>(message: &'a Value, number: &str) -> Option<&'a str> {
    let found = message["fields"].as_array().unwrap().iter().find(|field| field["field"] == number);
    found.map(|field| field["value"].as_str().unwrap())
}

pub async fn listed(engine: Engine) {
    let world = World::new(engine).await;
    assert_eq!(world.run(&["acquirer", "dialect"]), GENERIC);
    world.acquirers_file(&[("acme", "test", "127.0.0.1:8583"), ("north", "live", "host.bank.example:5000")], "");
    let text = std::fs::read_to_string(world.folder.join("acquirers.toml")).unwrap();
    std::fs::write(world.folder.join("acquirers.toml"), text + "tls = {}\nconnections = 2\n").unwrap();
    let (status, said, _) = world.acquirer(&["list"], "");
    assert_eq!(status, 0);
    insta::allow_duplicates! { insta::assert_snapshot!(said, @r"
    acme  test  127.0.0.1:8583  plain TCP  generic-1987
    north  live  host.bank.example:5000  TLS  generic-1987
    To see whether one answers: fuda acquirer check NAME
    ") }
    let (status, said, _) = world.acquirer(&["list", "--json"], "");
    assert_eq!(status, 0);
    let said: Value = serde_json::from_str(&said).unwrap();
    let one = |name, mode, address, tls, connections: u32| {
        json!({"name": name, "protocol": "iso8583", "mode": mode, "address": address, "dialect": "generic-1987",
            "tls": tls, "connections": connections})
    };
    let expected =
        [one("acme", "test", "127.0.0.1:8583", false, 1), one("north", "live", "host.bank.example:5000", true, 2)];
    assert_eq!(said, json!({"acquirers": expected}));
    // No file, none there, one that is wrong, one that is empty.
    let without = |file: &[&str]| {
        let args = [&["acquirer", "list"], file].concat();
        crate::operator::refused(fuda(&world.folder, world.database_url.as_deref()).args(args))
    };
    assert_eq!(without(&[]), "fuda: name the acquirers file: --acquirers FILE or FUDA_ACQUIRERS\n");
    let said = without(&["--acquirers", "/nowhere/acquirers.toml"]);
    assert!(said.starts_with("fuda: cannot read /nowhere/acquirers.toml: No such file"), "{said}");
    let file = world.folder.join("acquirers.toml");
    std::fs::write(&file, "[acquirers.acme]\nprotocol = \"iso8583\"\nmode = \"prod\"\n").unwrap();
    let said = without(&["--acquirers", file.to_str().unwrap()]);
    let wrong = "line 3, mode = \"prod\": unknown variant `prod`, expected `live` or `test`";
    assert_eq!(said, format!("fuda: {}: {wrong}\n", file.display()));
    std::fs::write(&file, "").unwrap();
    assert_eq!(world.acquirer(&["list"], "").1, "No acquirer: the file has no [acquirers.NAME].\n");
    let said = world.acquirer(&["check", "acme"], "").2;
    assert!(said.ends_with(" has no acquirer of that name, and no other\n"), "{said}");
}

/// A host that answers: each message is shown, and nothing that may not be.
pub async fn checked(engine: Engine) {
    let world = World::new(engine).await;
    world.speaks(GENERIC);
    let host = Host::start(&world);
    world.acquirers_file(&[("acme", "test", &host.address)], "");
    let (status, said, wrong) = world.acquirer(&["check", "acme"], "");
    assert_eq!((status, wrong.as_str()), (0, ""));
    insta::allow_duplicates! { insta::assert_snapshot!(stable(&said, &host.address), @r"
    acme (test) at <address>, generic-1987

    0800 sign_on
            7  Transmission date and time                   <drawn>
           11  Systems trace audit number                   <drawn>
           70  Network management information code          001
    0810 after <n> ms: yes
            7  Transmission date and time                   <drawn>
           11  Systems trace audit number                   <drawn>
           39  Response code                                00
           70  Network management information code          001

    0800 echo
            7  Transmission date and time                   <drawn>
           11  Systems trace audit number                   <drawn>
           70  Network management information code          301
    0810 after <n> ms: yes
            7  Transmission date and time                   <drawn>
           11  Systems trace audit number                   <drawn>
           39  Response code                                00
           70  Network management information code          301

    0100 verify
            2  Primary account number                       400000******1091
            3  Processing code                              000000
            4  Amount, transaction                          000000000000
            7  Transmission date and time                   <drawn>
           11  Systems trace audit number                   <drawn>
           12  Time, local transaction                      <drawn>
           13  Date, local transaction                      <drawn>
           14  Date, expiration                             ***
           22  Point of service entry mode                  812
           25  Point of service condition code              51
           37  Retrieval reference number                   <drawn>
           41  Card acceptor terminal identification        00000001
           42  Card acceptor identification code            000000000000001
           49  Currency code, transaction                   392
    0110 after <n> ms: yes
            2  Primary account number                       400000******1091
            3  Processing code                              000000
            4  Amount, transaction                          000000000000
            7  Transmission date and time                   <drawn>
           11  Systems trace audit number                   <drawn>
           12  Time, local transaction                      <drawn>
           13  Date, local transaction                      <drawn>
           37  Retrieval reference number                   <drawn>
           38  Authorization identification response        <drawn>
           39  Response code                                00
           41  Card acceptor terminal identification        00000001
           42  Card acceptor identification code            000000000000001
        48.63  Network transaction identification           <drawn>
           49  Currency code, transaction                   392

    It answers. Next: fuda route add --merchant ID --acquirer acme --terminal T --acceptor A
    ") }
}

/// For machines, as another merchant, in another currency, with a card of the acquirer's own.
pub async fn checked_as_asked(engine: Engine) {
    let world = World::new(engine).await;
    world.speaks(GENERIC);
    let host = Host::start(&world);
    world.acquirers_file(&[("acme", "test", &host.address)], "");
    let (status, said, wrong) = world.checked(&["--terminal", "T1", "--acceptor", "SHOP 1", "--currency", "USD"], "");
    assert_eq!((status, wrong.as_str(), &said["ok"], &said["error"]), (0, "", &json!(true), &Value::Null));
    assert_eq!(told(&said), ["sign_on: yes", "echo: yes", "verify: yes"]);
    let verify = &said["exchanges"][2];
    let fields = ["2", "14", "41", "42", "49"].map(|number| field(&verify["sent"], number).unwrap());
    assert_eq!(fields, ["400000******1091", "***", "T1", "SHOP 1", "840"]);
    assert!(verify["ms"].is_u64() && field(&verify["answered"], "39") == Some("00"), "{verify}");
    // A card of the acquirer's own.
    let (status, said, wrong) = world.acquirer(&["check", "acme", "--card-stdin"], CARD);
    assert_eq!((status, wrong.as_str()), (1, "fuda: not everything was answered with a yes\n"));
    assert!(said.contains("400000******0002") && said.contains("ms: no: 5 "), "{said}");
    let (status, said, _) = world.checked(&["--card-stdin"], CARD);
    assert_eq!((status, &said["ok"], &said["error"]), (1, &json!(false), &Value::Null));
    assert_eq!(told(&said).len(), 3);
    assert!(told(&said)[2].starts_with("verify: no: 5 "), "{said}");
    assert_eq!(field(&said["exchanges"][2]["sent"], "14"), Some("***"));
    for rubbish in
        ["", "x", "4000000000000002", "4000000000000003 11/39", "4000000000000002 1139", "4000000000000002 13/39"]
    {
        let (status, said, wrong) = world.acquirer(&["check", "acme", "--card-stdin"], rubbish);
        assert_eq!((status, said.as_str()), (1, ""), "{rubbish}");
        assert_eq!(wrong, "fuda: standard input is not a card number and its expiry as MM/YY\n", "{rubbish}");
    }
    for (words, why) in [
        (&["check", "acme", "--terminal", "123456789"][..], "the terminal is 1 to 8"),
        (&["check", "acme", "--currency", "YEN"], "--currency is no ISO 4217 code"),
        (&["check", "other"], "acquirers.toml has no acquirer of that name, only: acme"),
    ] {
        let (status, said, wrong) = world.acquirer(words, "");
        assert_eq!((status, said.as_str()), (1, ""));
        assert!(wrong.contains(why), "{wrong}");
    }
}

/// The sandbox's card never goes to a live host; the acquirer's own may.
pub async fn a_live_one(engine: Engine) {
    let world = World::new(engine).await;
    world.speaks(GENERIC);
    let host = Host::start(&world);
    // It signs off where that was agreed.
    world.acquirers_file(&[("acme", "live", &host.address)], "sign_off = true");
    let (status, said, _) = world.checked(&[], "");
    assert_eq!((status, told(&said)), (0, ["sign_on: yes", "echo: yes", "sign_off: yes"].map(str::to_owned).to_vec()));
    let (status, said, _) = world.acquirer(&["check", "acme"], "");
    assert_eq!(status, 0);
    assert!(said.contains("No card was verified: give one of the acquirer's by --card-stdin."), "{said}");
    let asked = || std::fs::read_to_string(world.folder.with_extension("host.log")).unwrap().matches("asked").count();
    assert_eq!(asked(), 0);
    assert_eq!(world.checked(&["--card-stdin"], "4000000000001091 12/40").0, 0);
    assert_eq!(asked(), 1);
}

/// What a host of the test's own does with a request.
enum Does {
    Answers(Message),
    Says(&'static [u8]),
    Closes,
    Nothing,
}

fn yes(request: &Message) -> Message {
    let mut answer = Message::new(request.mti().answer().unwrap());
    for field in request.fields().filter(|field| [3, 7, 11, 37, 41, 42, 70].contains(field)) {
        answer.set(field, request.get(field).unwrap());
    }
    answer.set(39, b"00");
    answer
}

/// Its address.
async fn host(does: fn(&Message) -> Does) -> String {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap().to_string();
    let home = Home { institution: None, time_zone: jiff::tz::TimeZone::UTC };
    let language = Language::of(GENERIC, home).unwrap_or_else(|wrong| panic!("{wrong}"));
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            let (mut buffer, mut filled) = (vec![0; 4_096], 0);
            while let Ok(count @ 1..) = stream.read(&mut buffer[filled..]).await {
                filled += count;
                let Some(framed) = language.frame.split(&buffer[..filled]).unwrap() else { continue };
                let request = language.codec.decode(framed.message).unwrap();
                filled = 0;
                let (mut body, mut frame) = (Vec::new(), Vec::new());
                match does(&request) {
                    Does::Answers(answer) => language.codec.encode(&answer, &mut body).unwrap(),
                    Does::Says(bytes) => body.extend_from_slice(bytes),
                    Does::Closes => break,
                    Does::Nothing => continue,
                }
                language.frame.wrap(None, &body, &mut frame).unwrap();
                stream.write_all(&frame).await.unwrap();
            }
        }
    });
    address
}

/// What was said until a conversation broke is told with the reason.
pub async fn broken_off(engine: Engine) {
    let world = World::new(engine).await;
    let nobody = free_address();
    world.acquirers_file(&[("acme", "test", &nobody)], "");
    let (status, said, wrong) = world.checked(&[], "");
    assert_eq!((status, &said["ok"], &said["exchanges"]), (1, &json!(false), &json!([])));
    assert!(wrong.starts_with(&format!("fuda: cannot connect to {nobody}: Connection refused")), "{wrong}");
    let closes = host(|request| match request.mti().as_str() {
        "0100" => Does::Closes,
        _ => Does::Answers(yes(request)),
    });
    let garbles = host(|request| match request.mti().as_str() {
        "0100" => Does::Says(b"0110rubbish"),
        _ => Does::Answers(yes(request)),
    });
    let silent = host(|request| match request.mti().as_str() {
        "0100" => Does::Nothing,
        _ => Does::Answers(yes(request)),
    });
    let closes = closes.await;
    for (address, why) in [
        (closes.clone(), "verify: the host closed the connection instead of answering"),
        (garbles.await, "verify: the host's answer cannot be read: "),
        (silent.await, "verify: no answer within 1500 ms"),
    ] {
        world.acquirers_file(&[("acme", "test", &address)], "");
        let (status, said, wrong) = world.checked(&[], "");
        assert_eq!((status, told(&said)), (1, ["sign_on: yes", "echo: yes", "verify: -"].map(str::to_owned).to_vec()));
        assert!(wrong.starts_with(&format!("fuda: {why}")), "{wrong}");
        let verify = &said["exchanges"][2];
        assert_eq!((field(&verify["sent"], "2"), &verify["answered"]), (Some("400000******1091"), &Value::Null));
    }
    world.acquirers_file(&[("acme", "test", &closes)], "sign_on = false\n");
    let (status, said, wrong) = world.acquirer(&["check", "acme"], "");
    assert_eq!(status, 1);
    insta::allow_duplicates! { insta::assert_snapshot!(stable(&format!("{said}{wrong}"), &closes), @r"
    acme (test) at <address>, generic-1987

    0800 echo
            7  Transmission date and time                   <drawn>
           11  Systems trace audit number                   <drawn>
           70  Network management information code          301
    0810 after <n> ms: yes
            7  Transmission date and time                   <drawn>
           11  Systems trace audit number                   <drawn>
           39  Response code                                00
           70  Network management information code          301

    0100 verify
            2  Primary account number                       400000******1091
            3  Processing code                              000000
            4  Amount, transaction                          000000000000
            7  Transmission date and time                   <drawn>
           11  Systems trace audit number                   <drawn>
           12  Time, local transaction                      <drawn>
           13  Date, local transaction                      <drawn>
           14  Date, expiration                             ***
           22  Point of service entry mode                  812
           25  Point of service condition code              51
           37  Retrieval reference number                   <drawn>
           41  Card acceptor terminal identification        00000001
           42  Card acceptor identification code            000000000000001
           49  Currency code, transaction                   392
    no answer, <n> ms
    fuda: verify: the host closed the connection instead of answering
    ") }
}

/// A host that says back what it must not: none of it is shown.
pub async fn told_what_may_not_be_shown(engine: Engine) {
    let world = World::new(engine).await;
    let address = host(|request| {
        let mut answer = yes(request);
        if request.mti().as_str() == "0100" {
            for (field, text) in [(2, "4000000000000002"), (14, "3911"), (44, "CARD 4000000000000002 IS FINE")] {
                answer.set(field, text.as_bytes());
            }
            answer.set_sub(48, "92", b"987");
        }
        Does::Answers(answer)
    });
    world.acquirers_file(&[("acme", "test", &address.await)], "");
    let (status, said, _) = world.checked(&["--card-stdin"], CARD);
    assert_eq!(status, 0);
    let answered = &said["exchanges"][2]["answered"];
    let shown = ["2", "14", "44", "48.92"].map(|number| field(answered, number).unwrap());
    assert_eq!(shown, ["400000******0002", "***", "CARD 400000******0002 IS FINE", "***"]);
    let (_, said, _) = world.acquirer(&["check", "acme", "--card-stdin"], CARD);
    for name in ["Card verification code", "Date, expiration"] {
        let lines: Vec<&str> = said.lines().filter(|line| line.contains(name)).collect();
        assert!(!lines.is_empty() && lines.iter().all(|line| line.ends_with(" ***")), "{name}: {said}");
    }
}

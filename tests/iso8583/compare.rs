//! The same messages in the hands of pyiso8583 and iso8583sim, both ways.

use crate::random::{Dice, dialect, message, plain, spec};
use fuda::acquirer::iso8583::codec::Codec;
use fuda::acquirer::iso8583::dialect::{Dialect, GENERIC};
use fuda::acquirer::iso8583::message::{Message, Mti};
use serde_json::{Value, json};
use std::io::{BufRead, BufReader, Write};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};

pub type Comparison = fn(&mut Other);

pub const ALL: [(&str, Comparison); 2] = [
    ("pyiso8583_agrees", pyiso8583_agrees),
    ("iso8583sim_agrees_for_every_scheme", iso8583sim_agrees_for_every_scheme),
];

/// `compare.py`, which answers line by line.
pub struct Other {
    process: Child,
    asked: ChildStdin,
    answers: BufReader<ChildStdout>,
}

impl Other {
    pub fn start(python: &str) -> Other {
        let script = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/iso8583/compare.py");
        let mut process = Command::new(python)
            .arg(script)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("python starts");
        let asked = process.stdin.take().unwrap();
        let answers = BufReader::new(process.stdout.take().unwrap());
        Other { process, asked, answers }
    }

    fn ask(&mut self, request: &Value) -> Value {
        writeln!(self.asked, "{request}").unwrap();
        let mut line = String::new();
        self.answers.read_line(&mut line).unwrap();
        let answer: Value = serde_json::from_str(&line).unwrap_or_else(|error| panic!("{line}: {error}"));
        assert!(answer.get("error").is_none(), "{request}: {answer}");
        answer
    }
}

impl Drop for Other {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn bytes(hex: &str) -> Vec<u8> {
    (0..hex.len()).step_by(2).map(|at| u8::from_str_radix(&hex[at..at + 2], 16).unwrap()).collect()
}

/// Specs at random: ASCII, BCD and EBCDIC of everything, binary lengths, both sides for a spare half byte.
fn pyiso8583_agrees(other: &mut Other) {
    for seed in 0..120 {
        let dice = Dice::new(1000 + seed);
        let text = dialect(&dice, false);
        let dialect = Dialect::parse(&text).unwrap();
        let codec = Codec::new(&dialect).unwrap();
        other.ask(&json!({"spec": spec(&dialect)}));
        for _ in 0..20 {
            let message = message(&dice, &dialect, dice.one(&[5, 20, 60]));
            let plain = plain(&dialect, &message);
            let mut ours = Vec::new();
            codec.encode(&message, &mut ours).unwrap();
            let theirs = other.ask(&json!({"encode": plain}));
            assert_eq!(theirs["bytes"], hex(&ours), "seed {seed}");
            assert_eq!(other.ask(&json!({"decode": hex(&ours)}))["fields"], plain, "seed {seed}");
            let heard = codec.decode(&bytes(theirs["bytes"].as_str().unwrap())).unwrap();
            assert!(heard.parts().eq(message.parts()), "seed {seed}");
        }
    }
}

/// The built-in dialect and iso8583sim's `ascii-binary`: what a charge sends, for the card of each network whose fields it
/// has of its own, and what its host answers.
fn iso8583sim_agrees_for_every_scheme(other: &mut Other) {
    let dialect = Dialect::parse(GENERIC.1).unwrap();
    let codec = Codec::new(&dialect).unwrap();
    for (pan, network) in [
        ("4000000000001091", Some("VISA")),
        ("5200000000001005", Some("MASTERCARD")),
        ("2223000048400011", Some("MASTERCARD")),
        ("378282246310005", Some("AMEX")),
        ("3530111333300000", Some("JCB")),
        ("6011111111111117", Some("DISCOVER")),
        ("6200000000000005", Some("UNIONPAY")),
        ("36227206271667", None),
    ] {
        let message = charge(pan);
        let mut wire = Vec::new();
        codec.encode(&message, &mut wire).unwrap();
        let heard = other.ask(&json!({"sim_decode": hex(&wire)}));
        assert_eq!(heard["network"], json!(network), "{pan}");
        for (field, _, value) in message.parts().filter(|part| part.1.is_empty()) {
            let shown = if matches!(field, 52 | 64 | 128) {
                hex(value).to_uppercase()
            } else {
                String::from_utf8(value.to_vec()).unwrap()
            };
            let theirs = heard["fields"][field.to_string()].as_str().unwrap_or_else(|| panic!("{network:?} {field}"));
            assert_eq!(theirs.trim_end(), shown, "{network:?} {field}");
        }
        assert_eq!(heard["fields"]["48"], "2204C10142032129203123", "{network:?}");
        assert_eq!(heard["fields"]["55"], "9F2608010203040506070882023900", "{network:?}");

        let answer = json!({
            "t": "0110", "2": pan, "3": "000000", "4": "000000001000", "7": "1129062354", "11": "000001", "12": "152354",
            "13": "1129", "32": "12345678901", "37": "000000000001", "38": "A00001", "39": "00", "41": "TERM0001",
            "42": "ACCEPTOR", "49": "392",
        });
        let sent = other.ask(&json!({"sim_encode": answer}));
        let answer = codec.decode(&bytes(sent["bytes"].as_str().unwrap())).unwrap();
        assert_eq!((answer.mti().as_str(), answer.text(2), answer.text(38)), ("0110", Some(pan), Some("A00001")));
        assert_eq!((answer.text(39), answer.text(42)), (Some("00"), Some("ACCEPTOR")));
    }
}

/// Every field that the networks have in common with each other and with the dialect.
fn charge(pan: &str) -> Message {
    let mut message = Message::new(Mti::parse(b"0100").unwrap());
    for (field, value) in [
        (2, pan),
        (3, "000000"),
        (4, "000000001000"),
        (7, "1129062354"),
        (11, "000001"),
        (12, "152354"),
        (13, "1129"),
        (14, "2812"),
        (18, "5411"),
        (19, "392"),
        (22, "812"),
        (23, "001"),
        (24, "100"),
        (25, "59"),
        (26, "04"),
        (32, "12345678901"),
        (33, "1"),
        (35, "4000=2812"),
        (37, "000000000001"),
        (38, "A00001"),
        (39, "00"),
        (41, "TERM0001"),
        (42, "ACCEPTOR"),
        (43, "SHOP, TOKYO  JP"),
        (44, "more"),
        (49, "392"),
        (50, "392"),
        (52, "12345678"),
        (53, "2001010100000000"),
        (54, "0040392D000000000100"),
        (57, "x"),
        (59, "x"),
        (60, "national"),
        (61, "private"),
        (62, "private"),
        (63, "private"),
        (64, "12345678"),
        (70, "301"),
        (90, "010000000111290623540001234567800000000000"),
        (99, "1"),
        (100, "12345678901"),
        (102, "account"),
        (103, "account"),
        (104, "description"),
        (120, "private"),
        (127, "private"),
        (128, "12345678"),
    ] {
        message.set(field, value.as_bytes());
    }
    for (tag, value) in [("22", "C101"), ("42", "212"), ("92", "123")] {
        message.set_sub(48, tag, value.as_bytes());
    }
    message.set_sub(55, "9F26", &[1, 2, 3, 4, 5, 6, 7, 8]);
    message.set_sub(55, "82", &[0x39, 0]);
    message
}

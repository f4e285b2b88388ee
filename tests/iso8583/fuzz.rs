//! Round trips and broken bytes, from seeds: the same cases in every run.

use crate::random::{Dice, dialect, message};
use fuda::acquirer::iso8583::codec::Codec;
use fuda::acquirer::iso8583::dialect::{Dialect, GENERIC};
use fuda::acquirer::iso8583::frame::Frame;
use fuda::acquirer::iso8583::mask;
use fuda::acquirer::iso8583::message::Message;

fn parts(message: &Message) -> Vec<(u8, &str, &[u8])> {
    message.parts().collect()
}

pub fn random_messages_come_back() {
    for seed in 0..300 {
        let dice = Dice::new(seed);
        let text = dialect(&dice, true);
        let dialect = Dialect::parse(&text).unwrap_or_else(|error| panic!("{text}\n{error}"));
        let codec = Codec::new(&dialect).unwrap_or_else(|error| panic!("{text}\n{error}"));
        for _ in 0..20 {
            let message = message(&dice, &dialect, dice.one(&[5, 20, 60]));
            let mut wire = Vec::new();
            codec.encode(&message, &mut wire).unwrap_or_else(|wrong| panic!("seed {seed}: {wrong}"));
            let again = codec.decode(&wire).unwrap_or_else(|wrong| panic!("seed {seed}: {wrong}"));
            assert_eq!(again.mti(), message.mti());
            assert_eq!(parts(&again), parts(&message), "seed {seed}");
        }
    }
}

/// Nothing panics; what can be read is written again as the same bytes, but for the liberties that the codec names.
pub fn broken_bytes_are_told() {
    let (mut read, mut told, mut named) = (0, 0, 0);
    for seed in 0..400 {
        let dice = Dice::new(seed);
        let text = if seed % 4 == 0 { GENERIC.1.to_owned() } else { dialect(&dice, true) };
        let dialect = Dialect::parse(&text).unwrap();
        let (codec, frame) = (Codec::new(&dialect).unwrap(), Frame::new(&dialect).unwrap());
        for _ in 0..10 {
            let mut valid = Vec::new();
            codec.encode(&message(&dice, &dialect, 7), &mut valid).unwrap();
            for _ in 0..50 {
                let wire = broken(&dice, &valid);
                let _ = frame.split(&wire);
                match codec.decode(&wire) {
                    Err(wrong) => {
                        told += 1;
                        // The field's number, but for what stands before all fields or behind them.
                        let whole = ["the message type ", "the bitmap ", "bytes are left over"];
                        let outside = whole.iter().any(|words| wrong.why.contains(words));
                        assert_eq!(wrong.field.is_none(), outside, "{wrong}");
                        named += u32::from(wrong.field.is_some());
                    }
                    Ok(message) => {
                        read += 1;
                        // It takes its time with long texts.
                        if dice.chance(5) {
                            let _ = mask::line(&dialect, &message);
                        }
                        reads_again(&codec, &message, &wire);
                    }
                }
            }
        }
    }
    assert!(read > 10_000 && told > 60_000 && named > 40_000, "{read} {told} {named}");
}

fn reads_again(codec: &Codec, message: &Message, wire: &[u8]) {
    let mut again = Vec::new();
    codec.encode(message, &mut again).unwrap_or_else(|wrong| panic!("{wrong}"));
    if again != wire {
        let other = codec.decode(&again).unwrap_or_else(|wrong| panic!("{wrong}"));
        assert_eq!(parts(&other), parts(message));
        // Small letters, of ASCII or EBCDIC.
        let small = |(ours, theirs): (&u8, &u8)| matches!(ours ^ theirs, 0 | 0x20 | 0x40);
        let longer = wire.len() > again.len();
        assert!(longer || (again.len() == wire.len() && again.iter().zip(wire).all(small)), "not one of the liberties");
    }
}

/// One to three of: another byte, a bit, a byte more or less, an end, a piece twice, nothing of it at all.
fn broken(dice: &Dice, valid: &[u8]) -> Vec<u8> {
    let mut wire = valid.to_vec();
    for _ in 0..=dice.below(3) {
        let at = dice.below(wire.len() + 1);
        match dice.below(8) {
            0 if at < wire.len() => wire[at] = dice.one(b"0129AFaf \x00\x0f\xf0\xff\x80"),
            1 if at < wire.len() => wire[at] ^= 1 << dice.below(8),
            2 if at < wire.len() => drop(wire.remove(at)),
            3 => wire.insert(at, dice.bytes(1)[0]),
            4 => wire.truncate(at),
            5 => wire.extend_from_within(at..),
            // Lengths and bitmaps stand in front more than elsewhere.
            6 if wire.len() > 24 => wire[4 + dice.below(20)] = dice.bytes(1)[0],
            7 if dice.chance(20) => wire = dice.bytes(dice.below(60)),
            _ => {}
        }
    }
    wire
}

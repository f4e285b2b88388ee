//! The values of a message, from an operation.

use super::kind::Kind;
use super::speech::Speech;
use super::values::{INITIATORS, Pen, Scratch, Values, Variable};
use crate::acquirer::{Ask, Asked, Follow, Funding, Named, Operation, Original, Reversal, StoredCredential, Trace};
use crate::card::{Expiry, Pan};
use crate::clock::Millis;
use crate::money::Money;
use jiff::civil::DateTime;
use jiff::tz::TimeZone;

/// As whom we speak.
pub struct Home {
    /// Acquiring institution identification code (field 32): 1 to 11 digits, if the host wants one.
    pub institution: Option<String>,
    /// Where local times are told.
    pub time_zone: TimeZone,
}

/// What an operation is as a message.
pub struct Spoken<'a> {
    pub kind: Kind,
    /// 0 for the first.
    pub tries: u32,
    pub values: Values<'a>,
}

const NO_NAME: &str = "the message has no trace number";
const NO_ORIGINAL: &str = "what it follows has no trace number at this host";
const TOO_MUCH: &str = "the amount does not fit the host's message";
const NO_TIME: &str = "there is no such time";

impl Speech {
    /// # Errors
    /// Why it cannot be said at all: nothing must be sent then.
    pub fn spoken<'a>(
        &self,
        operation: &Operation<'a>,
        home: &'a Home,
        scratch: &'a mut Scratch,
    ) -> Result<Spoken<'a>, &'static str> {
        let pen = scratch.pen();
        match operation {
            Operation::Authorize(ask) => asks(Kind::Authorize, ask, home, pen),
            Operation::Purchase(ask) => asks(Kind::Purchase, ask, home, pen),
            Operation::Verify(ask) => asks(Kind::Verify, ask, home, pen),
            Operation::Capture(follow) => self.follows(Kind::Capture, follow, home, pen),
            Operation::Refund(follow) => self.follows(Kind::Refund, follow, home, pen),
            Operation::Void(follow) => self.follows(Kind::Void, follow, home, pen),
            Operation::Release(follow) => self.follows(Kind::Release, follow, home, pen),
            Operation::Reverse(Reversal { named, original }) => {
                let mut writer = Writer::named(*named, original.money, home, pen)?;
                writer.original(self, original)?;
                Ok(writer.spoken(Kind::Reverse))
            }
            Operation::Inquire { .. } => Err("the host cannot be asked what became of a message"),
        }
    }

    fn follows<'a>(
        &self,
        kind: Kind,
        follow: &Follow<'a>,
        home: &'a Home,
        pen: Pen<'a>,
    ) -> Result<Spoken<'a>, &'static str> {
        let mut writer = Writer::named(follow.named, follow.money, home, pen)?;
        writer.values.set(Variable::Reference, follow.reference);
        writer.original(self, &follow.original)?;
        if kind == Kind::Release {
            writer.replacement(follow)?;
        }
        Ok(writer.spoken(kind))
    }

    /// The message type of the first try.
    fn first_mti(&self, asked: Asked) -> Option<&str> {
        let kind = match asked {
            Asked::Authorization => Kind::Authorize,
            Asked::Purchase => Kind::Purchase,
            Asked::Verification => Kind::Verify,
            Asked::Capture => Kind::Capture,
            Asked::Other => return None,
        };
        self.template(kind).map(|template| template.mtis[0].as_str())
    }
}

/// The values of network management, sent at `now`.
///
/// # Errors
/// The STAN has more than six digits, or there is no such time.
pub fn managing<'a>(
    stan: i64,
    now: Millis,
    home: &'a Home,
    scratch: &'a mut Scratch,
) -> Result<Values<'a>, &'static str> {
    let mut writer = Writer { values: Values::default(), home, pen: scratch.pen(), tries: 0 };
    writer.sent(stan, now)?;
    Ok(writer.values)
}

fn asks<'a>(kind: Kind, ask: &Ask<'a>, home: &'a Home, pen: Pen<'a>) -> Result<Spoken<'a>, &'static str> {
    let Funding::Card { pan, expiry, cvc } = ask.funding else {
        return Err("a wallet's account cannot be charged at this host");
    };
    let mut writer = Writer::named(ask.named, ask.money, home, pen)?;
    writer.card(pan, expiry)?;
    let values = &mut writer.values;
    values.set(Variable::Reference, ask.reference);
    values.set(Variable::Cvc, cvc.map(|cvc| cvc.expose()));
    let stored = ask.stored_credential;
    values.set(
        Variable::Entry,
        match (ask.device, stored) {
            (Some(_), _) => "device",
            (None, Some(StoredCredential { from_vault: true, .. })) => "stored",
            (None, _) => "ecommerce",
        },
    );
    if let Some(stored) = stored {
        values.set(Variable::Initiator, initiator(&stored));
        values.set(Variable::Agreement, stored.network_transaction_id.map_or("first", |_| "subsequent"));
        values.set(Variable::NetworkTransactionId, stored.network_transaction_id);
    }
    if let Some(device) = ask.device {
        values.set(Variable::Cryptogram, device.cryptogram.expose());
        values.set(Variable::Eci, device.eci);
    }
    if let Some(proof) = ask.authentication {
        values.set(Variable::Eci, proof.eci.as_str());
        values.set(Variable::Cavv, proof.cavv.as_str());
        values.set(Variable::DirectoryId, proof.directory_id.as_str());
        values.set(Variable::ThreedsVersion, proof.version.as_str());
    }
    Ok(writer.spoken(kind))
}

fn initiator(stored: &StoredCredential<'_>) -> &'static str {
    use crate::acquirer::{Initiator, Reason};
    let reason = match stored.reason {
        Reason::Recurring => 0,
        Reason::Unscheduled => 1,
        Reason::Installment => 2,
    };
    match stored.initiator {
        Initiator::Customer => INITIATORS[reason],
        Initiator::Merchant => INITIATORS[3 + reason],
    }
}

/// Values as they are gathered.
struct Writer<'a> {
    values: Values<'a>,
    home: &'a Home,
    pen: Pen<'a>,
    tries: u32,
}

impl<'a> Writer<'a> {
    fn named(named: Option<Named<'a>>, money: Money, home: &'a Home, pen: Pen<'a>) -> Result<Writer<'a>, &'static str> {
        let Named { trace, acceptor, tries } = named.ok_or(NO_NAME)?;
        let mut writer = Writer { values: Values::default(), home, pen, tries };
        writer.sent(trace.stan, trace.sent_at)?;
        let amount = writer.amount(money)?;
        let currency = writer.pen.digits(i64::from(money.currency.numeric()), 3).ok_or(TOO_MUCH)?;
        let values = &mut writer.values;
        values.set(Variable::Amount, amount);
        values.set(Variable::Currency, currency);
        values.set(Variable::Rrn, trace.rrn.as_str());
        values.set(Variable::Terminal, acceptor.terminal.as_str());
        values.set(Variable::Acceptor, acceptor.acceptor.as_str());
        values.set(Variable::Category, acceptor.category.as_deref());
        values.set(Variable::Place, acceptor.place.as_deref());
        Ok(writer)
    }

    fn sent(&mut self, stan: i64, at: Millis) -> Result<(), &'static str> {
        let stan = self.pen.digits(stan, 6).ok_or(NO_NAME)?;
        let time = self.time(at).ok_or(NO_TIME)?;
        let local = self.local(at).ok_or(NO_TIME)?;
        let values = &mut self.values;
        values.set(Variable::Stan, stan);
        values.set(Variable::Time, time);
        values.set(Variable::LocalYear, &local[..2]);
        values.set(Variable::LocalDate, &local[2..6]);
        values.set(Variable::LocalTime, &local[6..]);
        values.set(Variable::Institution, self.home.institution.as_deref());
        Ok(())
    }

    fn card(&mut self, pan: &'a Pan, expiry: Expiry) -> Result<(), &'static str> {
        let number = i64::from(expiry.year % 100) * 100 + i64::from(expiry.month);
        let expiry = self.pen.digits(number, 4).ok_or(NO_TIME)?;
        self.values.set(Variable::Pan, pan.expose());
        self.values.set(Variable::Expiry, expiry);
        Ok(())
    }

    fn original(&mut self, speech: &Speech, original: &Original<'a>) -> Result<(), &'static str> {
        let Trace { stan, rrn, sent_at } = original.trace.ok_or(NO_ORIGINAL)?;
        let mti = speech.first_mti(original.asked).ok_or(NO_ORIGINAL)?;
        let stan = self.pen.digits(*stan, 6).ok_or(NO_ORIGINAL)?;
        let time = self.time(*sent_at).ok_or(NO_TIME)?;
        let local = self.local(*sent_at).ok_or(NO_TIME)?;
        let amount = self.amount(original.money)?;
        // Who forwards: nobody.
        let institution = self.home.institution.as_deref().unwrap_or_default();
        let zeros = "00000000000".get(institution.len()..).ok_or("the institution has more than 11 digits")?;
        let all = self.pen.joined(&[mti, stan, time, zeros, institution, "00000000000"]).ok_or(NO_ORIGINAL)?;
        let values = &mut self.values;
        values.set(Variable::Original, all);
        values.set(Variable::OriginalMti, &all[..4]);
        values.set(Variable::OriginalStan, &all[4..10]);
        values.set(Variable::OriginalTime, &all[10..20]);
        values.set(Variable::OriginalLocalYear, &local[..2]);
        values.set(Variable::OriginalLocalDate, &local[2..6]);
        values.set(Variable::OriginalLocalTime, &local[6..]);
        values.set(Variable::OriginalRrn, rrn.as_str());
        values.set(Variable::OriginalAmount, amount);
        values.set(Variable::AuthCode, original.auth_code);
        values.set(Variable::NetworkTransactionId, original.network_transaction_id);
        match original.card {
            Some((pan, expiry)) => self.card(pan, expiry),
            None => Ok(()),
        }
    }

    /// What stays of a hold when `follow`'s money is let go.
    fn replacement(&mut self, follow: &Follow<'_>) -> Result<(), &'static str> {
        let stays = follow.original.money.checked_sub(follow.money).ok_or(TOO_MUCH)?;
        let amount = self.amount(stays)?;
        let all = self.pen.joined(&[amount, "000000000000", "000000000", "000000000"]).ok_or(TOO_MUCH)?;
        self.values.set(Variable::Replacement, all);
        self.values.set(Variable::ReplacementAmount, amount);
        Ok(())
    }

    fn amount(&mut self, money: Money) -> Result<&'a str, &'static str> {
        self.pen.digits(money.minor, 12).ok_or(TOO_MUCH)
    }

    /// MMDDhhmmss, UTC.
    fn time(&mut self, at: Millis) -> Option<&'a str> {
        let at = TimeZone::UTC.to_datetime(jiff::Timestamp::from_millisecond(at).ok()?);
        self.pen.digits(month_to_second(at), 10)
    }

    /// YYMMDDhhmmss at the acquirer's place.
    fn local(&mut self, at: Millis) -> Option<&'a str> {
        let at = self.home.time_zone.to_datetime(jiff::Timestamp::from_millisecond(at).ok()?);
        self.pen.digits(i64::from(at.year()).rem_euclid(100) * 10_000_000_000 + month_to_second(at), 12)
    }

    fn spoken(self, kind: Kind) -> Spoken<'a> {
        Spoken { kind, tries: self.tries, values: self.values }
    }
}

fn month_to_second(at: DateTime) -> i64 {
    let parts = [at.month(), at.day(), at.hour(), at.minute(), at.second()];
    parts.iter().fold(0, |number, part| number * 100 + i64::from(*part))
}

#[cfg(test)]
mod tests {
    use super::super::dialect::GENERIC;
    use super::super::sample::*;
    use super::*;
    use crate::acceptor::Acceptor;
    use crate::acquirer::{Authentication, Device, Initiator, Reason};
    use crate::card::{Cryptogram, Cvc, Scheme};

    fn pan() -> Pan {
        Pan::parse("4000000000001091").unwrap()
    }

    const EXPIRY: Expiry = Expiry { month: 3, year: 2031 };

    fn ask<'a>(named: Option<Named<'a>>, pan: &'a Pan, money: Money) -> Ask<'a> {
        Ask {
            reference: "0198a0de-0000-7000-8000-000000000001",
            named,
            money,
            funding: Funding::Card { pan, expiry: EXPIRY, cvc: None },
            device: None,
            stored_credential: None,
            authentication: None,
        }
    }

    fn stored(initiator: Initiator, reason: Reason, id: Option<&str>) -> StoredCredential<'_> {
        StoredCredential { initiator, reason, network_transaction_id: id, from_vault: true, authenticated: false }
    }

    fn original<'a>(asked: Asked, trace: &'a Trace, pan: &'a Pan) -> Original<'a> {
        Original {
            reference: "0198a0de-0000-7000-8000-000000000001",
            asked,
            trace: Some(trace),
            money: money(1_000, "JPY"),
            auth_code: Some("A00001"),
            network_transaction_id: Some("123456789012345"),
            card: Some((pan, EXPIRY)),
        }
    }

    #[test]
    fn a_purchase_with_the_cardholders_proof() {
        let (trace, acceptor, pan) = (trace(1), acceptor(), pan());
        let cvc = Cvc::parse("123").unwrap();
        let proof = Authentication {
            eci: "05".into(),
            cavv: "AAABBBCCCDDDEEEFFFGGGHHHIII=".into(),
            directory_id: "f3a1c2d4-0000-4000-8000-0123456789ab".into(),
            version: "2.2.0".into(),
        };
        let ask = Ask {
            funding: Funding::Card { pan: &pan, expiry: EXPIRY, cvc: Some(&cvc) },
            authentication: Some(&proof),
            ..ask(named(&trace, &acceptor, 0), &pan, money(4_999, "USD"))
        };
        insta::assert_snapshot!(shown(&said(&generic(), GENERIC.1, &Operation::Purchase(ask))), @r"
        0200
        2 4000000000001091
        3 000000
        4 000000004999
        7 0102030406
        11 000001
        12 120406
        13 0102
        14 3103
        18 5732
        22 812
        25 59
        32 12345678
        37 000000600001
        41 TERM0001
        42 SHOP00000000001
        43 FUDA SHOP              TOKYO          JP
        48.42 05
        48.43 AAABBBCCCDDDEEEFFFGGGHHHIII=
        48.66 f3a1c2d4-0000-4000-8000-0123456789ab2.2.0
        48.92 123
        49 840
        ");
        insta::assert_snapshot!(shown(&said(&odd(), ODD, &Operation::Purchase(ask))), @r"
        1200
        2 4000000000001091
        3 000000
        4 000000004999
        7 0102030406
        11 000001
        12 260102120406
        14 3103
        22 600550S00110
        24 200
        26 5732
        32 12345678
        37 000000600001
        41 TERM0001
        42 SHOP00000000001
        43 FUDA SHOP              TOKYO          JP
        48.001 CVC=123;
        48.003 C
        48.004 05AAABBBCCCDDDEEEFFFGGGHHHIII=
        48.005 2.2.0/f3a1c2d4-0000-4000-8000-0123456789ab
        49 840
        72 0198a0de-0000-7000-8000-000000000001
        ");
    }

    #[test]
    fn a_subscriptions_renewal() {
        let (trace, acceptor, pan) = (trace(2), acceptor(), pan());
        let ask = Ask {
            stored_credential: Some(stored(Initiator::Merchant, Reason::Recurring, Some("123456789012345"))),
            ..ask(named(&trace, &acceptor, 0), &pan, money(12_345, "KWD"))
        };
        insta::assert_snapshot!(shown(&said(&generic(), GENERIC.1, &Operation::Purchase(ask))), @r"
        0200
        2 4000000000001091
        3 000000
        4 000000012345
        7 0102030407
        11 000002
        12 120407
        13 0102
        14 3103
        18 5732
        22 102
        25 59
        32 12345678
        37 000000600002
        41 TERM0001
        42 SHOP00000000001
        43 FUDA SHOP              TOKYO          JP
        48.22 M103
        48.63 123456789012345
        49 414
        ");
        insta::assert_snapshot!(shown(&said(&odd(), ODD, &Operation::Purchase(ask))), @r"
        1200
        2 4000000000001091
        3 000000
        4 000000012345
        7 0102030407
        11 000002
        12 260102120407
        14 3103
        22 600510100110
        24 200
        26 5732
        32 12345678
        37 000000600002
        41 TERM0001
        42 SHOP00000000001
        43 FUDA SHOP              TOKYO          JP
        48.002 2
        48.003 R
        49 414
        62 123456789012345
        72 0198a0de-0000-7000-8000-000000000001
        ");
    }

    #[test]
    fn a_token_by_its_customer_and_a_device() {
        let (trace, acceptor, pan) = (trace(3), acceptor(), pan());
        let ask = ask(named(&trace, &acceptor, 0), &pan, money(1_000, "JPY"));
        let token = Ask {
            stored_credential: Some(stored(Initiator::Customer, Reason::Unscheduled, Some("123456789012345"))),
            ..ask
        };
        insta::assert_snapshot!(shown(&said(&generic(), GENERIC.1, &Operation::Authorize(token))), @r"
        0100
        2 4000000000001091
        3 000000
        4 000000001000
        7 0102030408
        11 000003
        12 120408
        13 0102
        14 3103
        18 5732
        22 102
        25 59
        32 12345678
        37 000000600003
        41 TERM0001
        42 SHOP00000000001
        43 FUDA SHOP              TOKYO          JP
        48.22 C101
        48.63 123456789012345
        49 392
        ");
        let cryptogram = Cryptogram::parse("AgAAAAAAAIR8CQrXcIhbQAAAAAA=").unwrap();
        let device = Ask { device: Some(Device { cryptogram: &cryptogram, eci: Some("07") }), ..ask };
        insta::assert_snapshot!(shown(&said(&generic(), GENERIC.1, &Operation::Authorize(device))), @r"
        0100
        2 4000000000001091
        3 000000
        4 000000001000
        7 0102030408
        11 000003
        12 120408
        13 0102
        14 3103
        18 5732
        22 092
        25 59
        32 12345678
        37 000000600003
        41 TERM0001
        42 SHOP00000000001
        43 FUDA SHOP              TOKYO          JP
        48.42 07
        48.43 AgAAAAAAAIR8CQrXcIhbQAAAAAA=
        49 392
        ");
    }

    #[test]
    fn a_verification() {
        let (trace, pan) = (trace(4), pan());
        let acceptor = Acceptor::parse("T1", "S1", None, None).unwrap();
        let first = StoredCredential { from_vault: false, ..stored(Initiator::Customer, Reason::Recurring, None) };
        let ask = Ask { stored_credential: Some(first), ..ask(named(&trace, &acceptor, 0), &pan, money(0, "JPY")) };
        insta::assert_snapshot!(shown(&said(&generic(), GENERIC.1, &Operation::Verify(ask))), @r"
        0100
        2 4000000000001091
        3 000000
        4 000000000000
        7 0102030409
        11 000004
        12 120409
        13 0102
        14 3103
        22 812
        25 51
        32 12345678
        37 000000600004
        41 T1
        42 S1
        48.22 C103
        49 392
        ");
        insta::assert_snapshot!(shown(&said(&odd(), ODD, &Operation::Verify(ask))), @r"
        1100
        2 4000000000001091
        3 000000
        4 000000000000
        7 0102030409
        11 000004
        12 260102120409
        14 3103
        22 600550S00110
        24 108
        32 12345678
        37 000000600004
        41 T1
        42 S1
        48.002 1
        48.003 C
        49 392
        72 0198a0de-0000-7000-8000-000000000001
        ");
    }

    /// Of 600 yen.
    fn follow<'a>(named: Option<Named<'a>>, original: Original<'a>) -> Follow<'a> {
        Follow { reference: "0198a0de-0000-7000-8000-000000000002", named, original, money: money(600, "JPY") }
    }

    #[test]
    fn a_capture_and_a_refund() {
        let (charge, trace, acceptor, pan, speech) = (trace(5), trace(6), acceptor(), pan(), generic());
        let follow = |asked, tries| follow(named(&trace, &acceptor, tries), original(asked, &charge, &pan));
        let first = |operation| shown(&said(&speech, GENERIC.1, &operation));
        insta::assert_snapshot!(first(Operation::Capture(follow(Asked::Authorization, 0))), @r"
        0220
        2 4000000000001091
        3 000000
        4 000000000600
        7 0102030411
        11 000006
        12 120411
        13 0102
        14 3103
        18 5732
        25 59
        32 12345678
        37 000000600006
        38 A00001
        41 TERM0001
        42 SHOP00000000001
        43 FUDA SHOP              TOKYO          JP
        48.63 123456789012345
        49 392
        90 010000000501020304100001234567800000000000
        ");
        let capture = |tries| first(Operation::Capture(follow(Asked::Authorization, tries)));
        let repeat = capture(0).replacen("0220", "0221", 1);
        assert_eq!([capture(1), capture(2)], [repeat.clone(), repeat]);
        insta::assert_snapshot!(first(Operation::Refund(follow(Asked::Capture, 0))), @r"
        0200
        2 4000000000001091
        3 200000
        4 000000000600
        7 0102030411
        11 000006
        12 120411
        13 0102
        14 3103
        18 5732
        25 59
        32 12345678
        37 000000600006
        38 A00001
        41 TERM0001
        42 SHOP00000000001
        43 FUDA SHOP              TOKYO          JP
        48.63 123456789012345
        49 392
        90 022000000501020304100001234567800000000000
        ");
    }

    #[test]
    fn what_lets_go_of_a_hold() {
        let (charge, trace, acceptor, pan, speech) = (trace(5), trace(6), acceptor(), pan(), generic());
        let follow = |asked, tries| follow(named(&trace, &acceptor, tries), original(asked, &charge, &pan));
        let first = |operation| shown(&said(&speech, GENERIC.1, &operation));
        insta::assert_snapshot!(first(Operation::Void(follow(Asked::Authorization, 1))), @r"
        0201
        2 4000000000001091
        3 020000
        4 000000000600
        7 0102030411
        11 000006
        12 120411
        13 0102
        14 3103
        18 5732
        25 59
        32 12345678
        37 000000600006
        38 A00001
        41 TERM0001
        42 SHOP00000000001
        43 FUDA SHOP              TOKYO          JP
        48.63 123456789012345
        49 392
        90 010000000501020304100001234567800000000000
        ");
        insta::assert_snapshot!(first(Operation::Release(follow(Asked::Authorization, 0))), @r"
        0420
        3 000000
        4 000000001000
        7 0102030411
        11 000006
        12 120411
        13 0102
        18 5732
        25 59
        32 12345678
        37 000000600005
        38 A00001
        41 TERM0001
        42 SHOP00000000001
        43 FUDA SHOP              TOKYO          JP
        48.63 123456789012345
        49 392
        90 010000000501020304100001234567800000000000
        95 000000000400000000000000000000000000000000
        ");
        insta::assert_snapshot!(shown(&said(&odd(), ODD, &Operation::Release(follow(Asked::Authorization, 0)))), @r"
        1420
        2 4000000000001091
        3 000000
        4 000000000400
        7 0102030411
        11 000006
        12 260102120411
        14 3103
        24 401
        25 4000
        26 5732
        30 000000001000000000000000
        32 12345678
        37 000000600006
        41 TERM0001
        42 SHOP00000000001
        43 FUDA SHOP              TOKYO          JP
        49 392
        56 1100000005260102120410
        62 123456789012345
        72 0198a0de-0000-7000-8000-000000000002
        ");
    }

    #[test]
    fn a_reversal_three_times() {
        let (charge, trace, acceptor, pan) = (trace(7), trace(8), acceptor(), pan());
        let reverse = |tries| {
            let original = Original { auth_code: None, ..original(Asked::Purchase, &charge, &pan) };
            Operation::Reverse(Reversal { named: named(&trace, &acceptor, tries), original })
        };
        let speech = generic();
        insta::assert_snapshot!(shown(&said(&speech, GENERIC.1, &reverse(0))), @r"
        0400
        2 4000000000001091
        3 000000
        4 000000001000
        7 0102030413
        11 000008
        12 120413
        13 0102
        14 3103
        18 5732
        25 59
        32 12345678
        37 000000600007
        41 TERM0001
        42 SHOP00000000001
        43 FUDA SHOP              TOKYO          JP
        48.63 123456789012345
        49 392
        90 020000000701020304120001234567800000000000
        ");
        let mtis = [0, 1, 2, 3, u32::MAX].map(|tries| said(&speech, GENERIC.1, &reverse(tries)).mti());
        assert_eq!(mtis.map(|mti| mti.to_string()), ["0400", "0420", "0421", "0421", "0421"]);
        insta::assert_snapshot!(shown(&said(&odd(), ODD, &reverse(1))), @r"
        1421
        2 4000000000001091
        3 000000
        4 000000001000
        7 0102030413
        11 000008
        12 260102120413
        14 3103
        24 400
        25 4021
        26 5732
        32 12345678
        37 000000600007
        41 TERM0001
        42 SHOP00000000001
        43 FUDA SHOP              TOKYO          JP
        49 392
        56 1200000007260102120412
        62 123456789012345
        ");
    }

    #[test]
    fn network_management() {
        let (mut scratch, home, speech) = (Scratch::default(), home(), generic());
        let values = managing(999_999, THEN, &home, &mut scratch).unwrap();
        let told = |kind| shown(&through(GENERIC.1, &speech.say(kind, 0, &values).unwrap())).replace('\n', " ");
        insta::assert_snapshot!(told(Kind::SignOn), @"0800 7 0102030405 11 999999 32 12345678 70 001");
        insta::assert_snapshot!(told(Kind::Echo), @"0800 7 0102030405 11 999999 32 12345678 70 301");
        insta::assert_snapshot!(told(Kind::SignOff), @"0800 7 0102030405 11 999999 32 12345678 70 002");
        assert!(!odd().speaks(Kind::Echo) && odd().say(Kind::Echo, 0, &values).is_err());
    }

    #[test]
    fn what_cannot_be_said_is_not_sent() {
        let (charge, trace, acceptor, pan, speech, home) = (trace(9), trace(10), acceptor(), pan(), generic(), home());
        let why = |operation: Operation<'_>| {
            let mut scratch = Scratch::default();
            speech.spoken(&operation, &home, &mut scratch).map(|_| ()).unwrap_err()
        };
        let good = ask(named(&trace, &acceptor, 0), &pan, money(1_000, "JPY"));
        assert_eq!(why(Operation::Purchase(Ask { named: None, ..good })), NO_NAME);
        assert_eq!(why(Operation::Purchase(Ask { money: money(1_000_000_000_000, "KWD"), ..good })), TOO_MUCH);
        let funding = Funding::Account { wallet: Scheme::Paypay, agreement: "1" };
        assert_eq!(
            why(Operation::Purchase(Ask { funding, ..good })),
            "a wallet's account cannot be charged at this host"
        );
        let named = named(&trace, &acceptor, 0);
        let original = original(Asked::Purchase, &charge, &pan);
        let reverse = |original| Operation::Reverse(Reversal { named, original });
        assert_eq!(why(reverse(Original { trace: None, ..original })), NO_ORIGINAL);
        assert_eq!(why(reverse(Original { asked: Asked::Other, ..original })), NO_ORIGINAL);
        let follow = Follow { reference: "", named, original, money: money(1_001, "JPY") };
        assert_eq!(why(Operation::Release(follow)), TOO_MUCH);
        assert!(why(Operation::Inquire { reference: "" }).contains("cannot be asked"));
    }

    /// A payment goes through without what it can do without.
    #[test]
    fn what_does_not_fit_is_left_out() {
        let (charge, trace, pan, speech, home) = (trace(11), trace(12), pan(), generic(), home());
        let acceptor = Acceptor { place: Some("東京都新宿区".into()), category: Some("57".into()), ..acceptor() };
        let cryptogram = Cryptogram::parse(&"A".repeat(128)).unwrap();
        let ask = Ask {
            device: Some(Device { cryptogram: &cryptogram, eci: None }),
            ..ask(named(&trace, &acceptor, 0), &pan, money(1_000, "JPY"))
        };
        let message = said(&speech, GENERIC.1, &Operation::Purchase(ask));
        assert_eq!((message.get(43), message.get(18), message.sub(48, "43")), (None, None, None));
        assert_eq!((message.text(4), message.text(22)), (Some("000000001000"), Some("092")));
        let original = Original { auth_code: Some("A000001"), ..original(Asked::Authorization, &charge, &pan) };
        let follow = Follow { reference: "", named: named(&trace, &acceptor, 0), original, money: money(1, "JPY") };
        let message = said(&speech, GENERIC.1, &Operation::Capture(follow));
        assert_eq!((message.get(38), message.text(37)), (None, Some("000000600012")));

        // But nothing that names the payment or its merchant.
        let acceptor = Acceptor { acceptor: "1234567890123456".into(), ..acceptor.clone() };
        let ask = Ask { named: super::super::sample::named(&trace, &acceptor, 0), ..ask };
        let mut scratch = Scratch::default();
        let spoken = speech.spoken(&Operation::Purchase(ask), &home, &mut scratch).unwrap();
        let wrong = speech.say(spoken.kind, 0, &spoken.values).unwrap_err();
        assert_eq!(wrong.to_string(), "field 42: longer than 15 characters");
    }
}

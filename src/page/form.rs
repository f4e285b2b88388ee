//! The payment form: which fields a link's page asks for, and what the visitor typed, checked. What a browser checks is checked
//! here again. Nothing that looks like a card number is ever given back to a page.

use super::amount;
use super::body::Form;
use super::countries::countries;
use super::reading::{is_email, is_international, kept, narrowed};
use super::texts::{Language, Texts};
use crate::card::{Card, Cvc, Expiry, Pan, PanError, contains_any_number, contains_number};
use crate::clock::Millis;
use crate::json::{Node, control_character};
use crate::money::{AmountError, Money};
use crate::pay::links::Link;
use crate::pay::request::CardSource;
use crate::pay::transaction::Address;
use crate::wallet::Wallet;
use zeroize::Zeroizing;

/// A text field of the page, by the name under which it is sent.
pub struct Field {
    pub name: &'static str,
    /// Characters (contract section 2).
    pub most: usize,
    pub required: bool,
    /// WHATWG HTML, autofill detail tokens.
    pub autocomplete: &'static str,
    pub input: &'static str,
    pub mode: &'static str,
    pub label: fn(&Texts) -> &'static str,
    missing: fn(&Texts) -> &'static str,
}

impl Field {
    /// What is said when it is empty.
    pub fn missing(&self, t: &Texts) -> &'static str {
        (self.missing)(t)
    }
}

const NAME: Field = Field {
    name: "name",
    most: 255,
    required: true,
    autocomplete: "cc-name",
    input: "text",
    mode: "text",
    label: |t| t.form.name,
    missing: |t| t.wrong.name_missing,
};

macro_rules! address {
    ($name:ident, $most:literal, $required:literal, $autocomplete:literal, $input:literal, $missing:expr) => {
        Field {
            name: stringify!($name),
            most: $most,
            required: $required,
            autocomplete: $autocomplete,
            input: $input,
            mode: $input,
            label: |t| t.form.$name,
            missing: $missing,
        }
    };
}

const COUNTRY: Field = address!(country, 2, true, "billing country", "text", |t| t.wrong.country_missing);
const EMAIL: Field = address!(email, 45, true, "email", "email", |t| t.wrong.email_missing);
const PHONE: Field = address!(phone_number, 20, true, "tel", "tel", |t| t.wrong.phone_missing);
const ADDRESS1: Field = address!(address1, 199, true, "billing address-line1", "text", |t| t.wrong.address1_missing);
const ADDRESS2: Field = address!(address2, 199, false, "billing address-line2", "text", |_| "");
const CITY: Field = address!(city, 65, true, "billing address-level2", "text", |t| t.wrong.city_missing);
const STATE: Field = address!(state, 65, false, "billing address-level1", "text", |_| "");
const POSTAL: Field = address!(postal_code, 45, false, "billing postal-code", "text", |_| "");

/// In the order in which the language writes an address.
const ENGLISH: [&Field; 8] = [&COUNTRY, &ADDRESS1, &ADDRESS2, &CITY, &STATE, &POSTAL, &EMAIL, &PHONE];
const JAPANESE: [&Field; 8] = [&COUNTRY, &POSTAL, &STATE, &CITY, &ADDRESS1, &ADDRESS2, &EMAIL, &PHONE];

/// The texts of a card's section, where it is paid with one, and of the address that the link lacks. The optional ones are
/// asked with the address only.
pub fn fields(link: &Link, language: Language) -> Vec<&'static Field> {
    let known = link.details.billing_address.clone().unwrap_or_default();
    let order = if language == Language::Japanese { JAPANESE } else { ENGLISH };
    let asks =
        |field: &&&'static Field| part(&known, field.name).is_none() && (field.required || known.address1.is_none());
    link.account().is_none().then_some(&NAME).into_iter().chain(order.iter().filter(asks).copied()).collect()
}

fn part<'a>(address: &'a Address, name: &str) -> Option<&'a str> {
    let part = match name {
        "country" => &address.country,
        "email" => &address.email,
        "phone_number" => &address.phone_number,
        "address1" => &address.address1,
        "address2" => &address.address2,
        "city" => &address.city,
        "state" => &address.state,
        _ => &address.postal_code,
    };
    part.as_deref()
}

/// A field that cannot stay as it is: its name, and what to do.
pub type Wrong = (&'static str, String);

/// What was typed, as the page may show it again: never the number or the cvc.
#[derive(Default)]
pub struct Typed(Vec<(&'static str, Zeroizing<String>)>);

impl Typed {
    pub fn get(&self, name: &str) -> &str {
        self.0.iter().find(|(key, _)| *key == name).map_or("", |(_, value)| value.as_str())
    }
}

/// A form that can be paid.
pub struct Payment {
    pub money: Money,
    pub source: CardSource,
    pub billing_address: Address,
}

/// A card's numbers as far as they can be read.
#[derive(Default)]
struct Numbers {
    pan: Option<Pan>,
    expiry: Option<Expiry>,
    cvc: Option<Cvc>,
}

impl Numbers {
    fn card(self, name: String, store: bool) -> Option<CardSource> {
        let card = Card { pan: self.pan?, expiry: self.expiry?, name };
        Some(CardSource::Card { card, cvc: Some(self.cvc?), store })
    }
}

struct Checks<'a> {
    form: &'a Form,
    t: &'static Texts,
    wrong: Vec<Wrong>,
}

/// The form of this link's page. The payment, or every wrong field in the page's order; and what may be shown again.
pub fn check(link: &Link, language: Language, form: &Form, now: Millis) -> (Result<Payment, Vec<Wrong>>, Typed) {
    let mut checks = Checks { form, t: language.texts(), wrong: Vec::new() };
    let money = link.amount().or_else(|| checks.amount(link));
    let by_card = link.account().is_none() && token(form).is_none();
    let numbers = if by_card { checks.numbers(link, now) } else { Numbers::default() };
    let mut address = link.details.billing_address.clone().unwrap_or_default();
    let mut typed = Typed::default();
    let mut name = String::new();
    for field in fields(link, language).into_iter().filter(|field| by_card || field.name != "name") {
        let Some(value) = checks.text(field, numbers.pan.as_ref()) else { continue };
        typed.0.push((field.name, Zeroizing::new(value.clone())));
        if field.name == "name" { name = value } else { fill(&mut address, field.name, value) }
    }
    for name in ["amount", "expiry"] {
        let value = form.get(name);
        // The longest that is either; a number that was typed here is not given back.
        if value.chars().count() <= 10 && !checks.repeats_cvc(value) {
            typed.0.push((name, Zeroizing::new(value.to_owned())));
        }
    }
    let store = link.details.stores_card;
    let source = match (link.account(), token(form)) {
        (Some(wallet), _) => Some(CardSource::Account { wallet, store }),
        (None, Some((wallet, token))) => Some(CardSource::Wallet { wallet, token, store }),
        (None, None) => numbers.card(name, store),
    };
    let payment = match (money, source) {
        (Some(money), Some(source)) if checks.wrong.is_empty() => {
            Ok(Payment { money, source, billing_address: address })
        }
        _ => Err(checks.wrong),
    };
    (payment, typed)
}

/// What a wallet's button gave our script, which sends it in the card's place. It is never shown again.
fn token(form: &Form) -> Option<(Wallet, Node)> {
    let wallet = Wallet::parse(form.get("wallet"))?;
    let token = Some(form.get("token")).filter(|text| !text.is_empty())?;
    Some((wallet, Node::Text(Zeroizing::new(token.to_owned()))))
}

fn fill(address: &mut Address, name: &str, value: String) {
    let value = Some(value).filter(|value| !value.is_empty());
    match name {
        "country" => address.country = value,
        "email" => address.email = value,
        "phone_number" => address.phone_number = value,
        "address1" => address.address1 = value,
        "address2" => address.address2 = value,
        "city" => address.city = value,
        "state" => address.state = value,
        _ => address.postal_code = value,
    }
}

impl Checks<'_> {
    fn say(&mut self, field: &'static str, text: impl Into<String>) {
        self.wrong.push((field, text.into()));
    }

    fn amount(&mut self, link: &Link) -> Option<Money> {
        let t = &self.t.wrong;
        let text = amount::typed(self.form.get("amount"));
        if text.is_empty() {
            self.say("amount", t.amount_missing);
            return None;
        }
        match Money::parse(&text, link.currency) {
            Ok(money) => Some(money),
            Err(error) => {
                self.say(
                    "amount",
                    match error {
                        AmountError::Form => t.amount_form.to_owned(),
                        AmountError::TooLong => t.amount_long.to_owned(),
                        AmountError::NotPositive => t.amount_positive.to_owned(),
                        AmountError::Decimals => (t.amount_decimals)(link.currency.code(), link.currency.decimals()),
                    },
                );
                None
            }
        }
    }

    fn numbers(&mut self, link: &Link, now: Millis) -> Numbers {
        let pan = self.number(link);
        let expiry = self.expiry(now);
        let cvc = self.cvc(pan.as_ref());
        Numbers { pan, expiry, cvc }
    }

    fn number(&mut self, link: &Link) -> Option<Pan> {
        let t = &self.t.wrong;
        let text = narrowed(self.form.get("number"));
        if text.is_empty() {
            self.say("number", t.number_missing);
            return None;
        }
        let pan = Pan::parse(&text);
        match &pan {
            Err(PanError::Form) => self.say("number", t.number_form),
            Err(PanError::Luhn) => self.say("number", t.number_luhn),
            Err(PanError::Scheme) => self.say("number", t.number_scheme),
            // What the merchant wrote into the link the visitor cannot change.
            Ok(pan) if said(link).iter().any(|text| contains_number(text, pan)) => self.say("number", t.number_in_text),
            Ok(_) => {}
        }
        pan.ok()
    }

    /// `MM/YY`, `MMYY`, `MM/YYYY`, also with spaces or in full width.
    fn expiry(&mut self, now: Millis) -> Option<Expiry> {
        let t = &self.t.wrong;
        let text: String = narrowed(self.form.get("expiry")).chars().filter(|c| *c != ' ').collect();
        if text.is_empty() {
            self.say("expiry", t.expiry_missing);
            return None;
        }
        let parts = text.split_once(['/', '-', '.']).or_else(|| match text.len() {
            4 | 6 if text.is_ascii() => Some(text.split_at(2)),
            _ => None,
        });
        match parts.map(|(month, year)| Expiry::parse(month, year)) {
            Some(Ok(expiry)) if expiry.is_past(now) => {
                self.say("expiry", t.expiry_past);
                None
            }
            Some(Ok(expiry)) => Some(expiry),
            _ => {
                self.say("expiry", t.expiry_form);
                None
            }
        }
    }

    fn cvc(&mut self, pan: Option<&Pan>) -> Option<Cvc> {
        let t = &self.t.wrong;
        let text = narrowed(self.form.get("cvc"));
        let cvc = Cvc::parse(&text);
        match (&cvc, pan.map(|pan| pan.scheme().cvc_length())) {
            _ if text.is_empty() => self.say("cvc", t.cvc_missing),
            (None, _) => self.say("cvc", t.cvc_form),
            (Some(_), Some(3)) if text.len() != 3 => self.say("cvc", t.cvc_three),
            (Some(_), Some(4)) if text.len() != 4 => self.say("cvc", t.cvc_four),
            _ => {}
        }
        cvc
    }

    /// `None`: it holds a card number or the cvc, and is neither shown again nor stored.
    fn text(&mut self, field: &'static Field, pan: Option<&Pan>) -> Option<String> {
        let t = &self.t.wrong;
        let value = self.form.get(field.name);
        let own = pan.is_some_and(|pan| contains_number(value, pan)) || self.repeats_number(value);
        // Also another card's, and also when the number's own field is empty: these texts stand in clear wherever they go.
        if own || contains_any_number(value) && !(field.name == "phone_number" && is_international(value)) {
            self.say(field.name, t.holds_number);
            return None;
        }
        // By chance an Icelandic postal code is the same three digits: that field can be left empty.
        if self.repeats_cvc(value) {
            self.say(field.name, t.holds_cvc);
            return None;
        }
        let count = value.chars().count();
        if value.is_empty() {
            if field.required {
                self.say(field.name, (field.missing)(self.t));
            }
        } else if control_character(value) {
            self.say(field.name, t.letters);
        } else if field.name == "country" && !countries(Language::English).iter().any(|country| country.code == value) {
            self.say(field.name, t.country_missing);
        } else if count > field.most {
            self.say(field.name, (t.too_long)(field.most));
        } else if field.name == "email" && !is_email(value) {
            self.say(field.name, t.email_form);
        }
        // What is far too long is no slip of the pen: it is not sent back whole.
        Some(value.chars().take(field.most * 2).collect())
    }

    /// Also a number that is mistyped is not shown again in another field.
    fn repeats_number(&self, value: &str) -> bool {
        let number = kept(self.form.get("number"), |c| c.is_ascii_digit());
        number.len() >= 12 && kept(value, |c| c.is_ascii_digit()).contains(number.as_str())
    }

    /// The cvc and nothing else, also one that is mistyped.
    fn repeats_cvc(&self, value: &str) -> bool {
        let cvc = kept(self.form.get("cvc"), |c| !matches!(c, ' ' | '-'));
        cvc.len() >= 3
            && cvc.bytes().any(|byte| byte.is_ascii_digit())
            && *kept(value, |c| !matches!(c, ' ' | '-')) == *cvc
    }
}

/// The merchant's own texts of a link.
fn said(link: &Link) -> Vec<&str> {
    let details = &link.details;
    let addresses = [&details.billing_address, &details.shipping_address].into_iter().flatten();
    let names = ["country", "email", "phone_number", "address1", "address2", "city", "state", "postal_code"];
    let parts = addresses.flat_map(|address| names.into_iter().filter_map(|name| part(address, name)));
    parts.chain(details.merchant_txn_ref.as_deref()).chain(details.merchant_email.as_deref()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::directory::Caller;
    use crate::id::{EntityId, LinkId};
    use crate::money::Currency;
    use crate::pay::links::{LinkDetails, Standing};

    fn link(address: Option<Address>) -> Link {
        Link {
            id: LinkId::from_bytes(&[1; 16]).unwrap(),
            caller: Caller { entity: EntityId::from_bytes(&[2; 16]).unwrap(), live: false },
            merchant_id: "JP00000001".to_owned(),
            standing: Standing::Open,
            amount_minor: Some(1000),
            currency: Currency::parse("JPY").unwrap(),
            details: LinkDetails { billing_address: address, ..LinkDetails::default() },
            tries: 0,
            transaction: None,
            created_at: 0,
            expires_at: 1,
        }
    }

    fn asked(link: &Link, language: Language) -> Vec<&'static str> {
        fields(link, language).iter().map(|field| field.name).collect()
    }

    #[test]
    fn a_page_asks_for_what_its_link_lacks() {
        let text = |text: &str| Some(text.to_owned());
        assert_eq!(
            asked(&link(None), Language::English),
            ["name", "country", "address1", "address2", "city", "state", "postal_code", "email", "phone_number"]
        );
        assert_eq!(
            asked(&link(None), Language::Japanese),
            ["name", "country", "postal_code", "state", "city", "address1", "address2", "email", "phone_number"]
        );
        let street = Address { address1: text("1-2-3"), city: text("Tokyo"), ..Address::default() };
        assert_eq!(asked(&link(Some(street.clone())), Language::English), ["name", "country", "email", "phone_number"]);
        let whole = Address { country: text("JP"), email: text("a@b.c"), phone_number: text("1"), ..street };
        assert_eq!(asked(&link(Some(whole)), Language::Japanese), ["name"]);
    }

    #[test]
    fn every_country_has_both_names() {
        let (english, japanese) = (countries(Language::English), countries(Language::Japanese));
        assert_eq!((english.len(), japanese.len(), japanese[0].code), (249, 249, "JP"));
        for country in english {
            assert!(country.code.len() == 2 && !country.en.is_empty() && !country.ja.is_ascii(), "{}", country.code);
        }
    }

    fn wrong(body: &str) -> Vec<&'static str> {
        let whole = Address {
            country: Some("JP".to_owned()),
            email: Some("a@b.c".to_owned()),
            phone_number: Some("090-1234-5678".to_owned()),
            address1: Some("the card is 4000000000001091".to_owned()),
            city: Some("Tokyo".to_owned()),
            ..Address::default()
        };
        let checked = check(&link(Some(whole)), Language::English, &Form::parse(body.as_bytes()).unwrap(), 0);
        checked.0.err().unwrap_or_default().into_iter().map(|(field, _)| field).collect()
    }

    #[test]
    fn cards_are_read_as_people_type_them() {
        for expiry in ["12/40", "12%2F2040", "1240", "122040", "12+%2F+40", "12-40", "1/40", "%EF%BC%91%EF%BC%92/40"] {
            assert!(
                wrong(&format!("number=4111-1111+1111+1111&expiry={expiry}&cvc=123&name=A")).is_empty(),
                "{expiry}"
            );
        }
        for expiry in
            ["", "12", "12/", "/40", "0/40", "13/40", "12/4", "12/040", "ab/cd", "12/1969", "124", "%C3%A91/40"]
        {
            assert_eq!(
                wrong(&format!("number=4111111111111111&expiry={expiry}&cvc=123&name=A")),
                ["expiry"],
                "{expiry}"
            );
        }
        assert_eq!(wrong("number=378282246310005&expiry=12/40&cvc=123&name=A"), ["cvc"]);
        assert!(wrong("number=378282246310005&expiry=12/40&cvc=1234&name=A").is_empty());
        // The merchant's own text holds this card's number: no field of the visitor's is at fault but the card.
        assert_eq!(wrong("number=4000000000001091&expiry=12/40&cvc=123&name=A"), ["number"]);
        assert_eq!(wrong("number=4111111111111112&expiry=12/40&cvc=123&name=4111+1111+1111+1112"), ["number", "name"]);
    }

    /// Everything is asked; `changes` take the place of what is good.
    fn checked(changes: &[(&str, &str)]) -> (Vec<Wrong>, Typed) {
        let good = [
            ("number", "4111 1111 1111 1111"),
            ("expiry", "12/40"),
            ("cvc", "867"),
            ("name", "A"),
            ("country", "JP"),
            ("email", "a@b.c"),
            ("phone_number", "0312345678"),
            ("address1", "1-2-3"),
            ("city", "Tokyo"),
        ];
        let kept = good.iter().filter(|(name, _)| !changes.iter().any(|(changed, _)| changed == name));
        let body = url::form_urlencoded::Serializer::new(String::new()).extend_pairs(kept.chain(changes)).finish();
        let (payment, typed) = check(&link(None), Language::English, &Form::parse(body.as_bytes()).unwrap(), 0);
        (payment.err().unwrap_or_default(), typed)
    }

    #[test]
    fn no_text_field_takes_or_gives_back_a_card() {
        assert!(checked(&[]).0.is_empty());
        let link = link(None);
        for field in fields(&link, Language::English) {
            for number in ["", "4111111111111111", "4111111111111112", "4000000000001091"] {
                for text in ["4111 1111 1111 1111", "x３７８２８２２４６３１０００５", "4111-1111-1111-1111 "]
                {
                    let (wrong, typed) = checked(&[("number", number), (field.name, text)]);
                    let told: Vec<&str> = wrong.iter().filter(|wrong| wrong.0 == field.name).map(|w| &*w.1).collect();
                    assert_eq!(told, [Language::English.texts().wrong.holds_number], "{} {text}", field.name);
                    assert_eq!(typed.get(field.name), "", "{} {text}", field.name);
                }
            }
            for cvc in ["867", "8 6 7", "８６７", "8675"] {
                let (wrong, typed) = checked(&[("cvc", cvc), (field.name, cvc)]);
                let told = wrong.iter().any(|wrong| wrong.0 == field.name);
                assert_eq!((told, typed.get(field.name)), (true, ""), "{} {cvc}", field.name);
            }
        }
        for name in ["amount", "expiry"] {
            assert_eq!(checked(&[(name, "867")]).1.get(name), "");
            assert_eq!(checked(&[(name, "868")]).1.get(name), "868");
        }
    }

    #[test]
    fn telephone_numbers_are_no_cards() {
        // In a range of Visa's, and its check digit fits.
        let german = "4915112345678";
        assert!(contains_any_number(german));
        for good in [format!("+49 {}", &german[2..]), format!("00{german}"), "+81 90-1234-5678".to_owned()] {
            assert!(checked(&[("phone_number", &good)]).0.is_empty(), "{good}");
        }
        for bad in [german, "+4111111111111111", "00378282246310005", "+378282246310005", "+36227206271667"] {
            assert_eq!(checked(&[("phone_number", bad)]).0.len(), 1, "{bad}");
        }
        // Its own number is refused however it is written.
        assert_eq!(checked(&[("number", german), ("phone_number", "+4915112345678")]).0.len(), 1);
    }
}

//! The payment page as its template is filled.

use super::amount;
use super::buttons::Buttons;
use super::countries::countries;
use super::form::{self, Field, Typed, Wrong};
use super::shell::Shell;
use super::texts::Language;
use crate::pay::links::Link;
use askama::Template;

/// A mark's file, and the scheme's name for those who do not see it.
const SCHEMES: [(&str, &str); 7] = [
    ("visa.svg", "Visa"),
    ("mastercard.svg", "Mastercard"),
    ("jcb.svg", "JCB"),
    ("amex.svg", "American Express"),
    ("diners.svg", "Diners Club"),
    ("discover.svg", "Discover"),
    ("unionpay.svg", "UnionPay"),
];

/// What stands above the form after a try or a mistake, and takes the focus.
pub struct Alert {
    /// Before the page's title.
    pub title: &'static str,
    pub heading: &'static str,
    pub lines: Vec<String>,
    /// Each leads to its field.
    pub fields: Vec<Wrong>,
}

#[derive(Template)]
#[template(path = "page/pay.html")]
pub struct PayPage<'a> {
    shell: &'a Shell,
    title: String,
    alert: Option<Alert>,
    /// The amount for people and its currency; `None`: it is typed.
    sum: Option<(String, &'static str)>,
    reference: Option<&'a str>,
    amount: Option<FieldView>,
    /// Where it is paid with a card.
    card: Vec<FieldView>,
    /// What happens where it is paid in a wallet's own page.
    how: Option<String>,
    billing: Vec<FieldView>,
    typed: &'a Typed,
    stores: Option<String>,
    pay: String,
    /// Where the form goes, whatever the address at which it is shown.
    action: String,
    cancel: String,
    buttons: &'a Buttons,
    /// Of the currency, for an amount that is typed.
    decimals: u32,
}

struct FieldView {
    name: &'static str,
    label: &'static str,
    hint: String,
    value: String,
    input: &'static str,
    mode: &'static str,
    autocomplete: &'static str,
    most: usize,
    required: bool,
    options: Vec<(&'static str, &'static str)>,
    /// What is wrong with it now; empty for nothing.
    wrong: String,
    /// What a script says when it is empty, or has the wrong form.
    missing: &'static str,
    form: &'static str,
}

impl<'a> PayPage<'a> {
    pub fn new(
        shell: &'a Shell,
        link: &'a Link,
        action: String,
        (typed, buttons): (&'a Typed, &'a Buttons),
        alert: Option<Alert>,
    ) -> PayPage<'a> {
        let (t, language) = (shell.t, shell.language);
        let sum = link.amount().map(|money| (amount::written(money, language), money.currency.code()));
        let written = sum.as_ref().map_or("", |(written, _)| written);
        let wrong = |name: &str| wrong_in(alert.as_ref(), name).unwrap_or_default().to_owned();
        let views = form::fields(link, language);
        let view = |field: &&Field| field_view(shell, field, typed, wrong(field.name));
        PayPage {
            title: (t.form.title)(written, &shell.merchant),
            reference: link.details.merchant_txn_ref.as_deref(),
            amount: sum.is_none().then(|| amount_view(shell, link, typed, wrong("amount"))),
            card: views.iter().filter(|field| field.name == "name").map(|field| view(&&**field)).collect(),
            billing: views.iter().filter(|field| field.name != "name").map(|field| view(&&**field)).collect(),
            how: shell.wallet.map(t.account.how),
            stores: link.details.stores_card.then(|| match shell.wallet {
                Some(wallet) => (t.account.stores)(wallet, &shell.merchant),
                None => (t.form.stores)(&shell.merchant),
            }),
            pay: match shell.wallet {
                Some(wallet) => (t.account.pay)(wallet),
                None if sum.is_some() => (t.form.pay)(written),
                None => t.form.pay_typed.to_owned(),
            },
            shell,
            alert,
            sum,
            typed,
            cancel: format!("{action}/cancel"),
            action,
            buttons,
            decimals: link.currency.decimals(),
        }
    }

    fn wrong(&self, name: &str) -> Option<&str> {
        wrong_in(self.alert.as_ref(), name)
    }
}

fn wrong_in<'a>(alert: Option<&'a Alert>, name: &str) -> Option<&'a str> {
    alert?.fields.iter().find(|(field, _)| *field == name).map(|(_, text)| text.as_str())
}

fn field_view(shell: &Shell, field: &Field, typed: &Typed, wrong: String) -> FieldView {
    let t = shell.t;
    let countries = if field.name == "country" { countries(shell.language) } else { &[] };
    let japanese = shell.language == Language::Japanese;
    let options = countries.iter().map(|country| (country.code, if japanese { country.ja } else { country.en }));
    let value = match typed.get(field.name) {
        "" if field.name == "country" && japanese => "JP",
        value => value,
    };
    FieldView {
        name: field.name,
        label: (field.label)(t),
        hint: if field.name == "name" { t.form.name_hint.to_owned() } else { String::new() },
        value: value.to_owned(),
        input: field.input,
        mode: field.mode,
        autocomplete: field.autocomplete,
        most: field.most,
        required: field.required,
        options: options.collect(),
        wrong,
        missing: field.missing(t),
        form: if field.name == "email" { t.wrong.email_form } else { "" },
    }
}

fn amount_view(shell: &Shell, link: &Link, typed: &Typed, wrong: String) -> FieldView {
    let t = shell.t;
    FieldView {
        name: "amount",
        label: t.amount,
        hint: (t.form.amount_hint)(link.currency.code()),
        value: typed.get("amount").to_owned(),
        input: "text",
        mode: if link.currency.decimals() == 0 { "numeric" } else { "decimal" },
        autocomplete: "transaction-amount",
        // Ten digits, with their thousands apart.
        most: 16,
        required: true,
        options: Vec::new(),
        wrong,
        missing: t.wrong.amount_missing,
        form: t.wrong.amount_form,
    }
}

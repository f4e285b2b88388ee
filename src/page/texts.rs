//! Everything that the pages say, in each language as one constant: a text that is missing in one of them does not compile.

mod en;
mod ja;

pub use en::EN;
pub use ja::JA;

/// The pages' languages. The address of a page says which: English has no prefix (contract section 8).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Language {
    English,
    Japanese,
}

impl Language {
    pub fn texts(self) -> &'static Texts {
        match self {
            Language::English => &EN,
            Language::Japanese => &JA,
        }
    }

    /// BCP 47.
    pub fn tag(self) -> &'static str {
        match self {
            Language::English => "en",
            Language::Japanese => "ja",
        }
    }

    /// What stands before a page's path.
    pub fn prefix(self) -> &'static str {
        match self {
            Language::English => "",
            Language::Japanese => "/jp",
        }
    }

    pub fn other(self) -> Language {
        match self {
            Language::English => Language::Japanese,
            Language::Japanese => Language::English,
        }
    }
}

pub struct Texts {
    /// The language's own name.
    pub own_name: &'static str,
    pub test_mode: &'static str,
    /// Behind it, where a card is typed.
    pub test_cards: &'static str,
    pub secure: &'static str,
    pub back_to_shop: &'static str,
    pub amount: &'static str,
    pub reference: &'static str,
    pub optional: &'static str,
    pub form: FormTexts,
    pub wrong: WrongTexts,
    pub declined: DeclinedTexts,
    pub told: ToldTexts,
    pub challenge: ChallengeTexts,
    pub account: AccountTexts,
}

/// On the way to the issuer and back, and on the sandbox issuer's own page.
pub struct ChallengeTexts {
    pub heading: &'static str,
    pub why: &'static str,
    pub forward: &'static str,
    pub back: &'static str,
    pub issuer: &'static str,
    pub sandbox: &'static str,
    pub shop: &'static str,
    pub card: &'static str,
    pub code: &'static str,
    pub code_hint: &'static str,
    pub six_digits: &'static str,
    pub confirm: &'static str,
    pub leave: &'static str,
    pub undecided: &'static str,
    /// With the wallet's name.
    pub undecided_why: fn(&str) -> String,
    pub wallet_sandbox: &'static str,
    pub wallet_stores: &'static str,
    pub wallet_leave: &'static str,
    pub approve: &'static str,
}

/// Labels, hints and buttons.
pub struct FormTexts {
    /// With the amount (empty when it is typed) and the merchant's name.
    pub title: fn(&str, &str) -> String,
    pub pay_to: &'static str,
    pub card: &'static str,
    pub number: &'static str,
    pub schemes: &'static str,
    pub expiry: &'static str,
    pub expiry_hint: &'static str,
    pub cvc: &'static str,
    pub cvc_hint: &'static str,
    pub name: &'static str,
    pub name_hint: &'static str,
    pub amount_hint: fn(&str) -> String,
    pub billing: &'static str,
    pub country: &'static str,
    pub choose: &'static str,
    pub email: &'static str,
    pub phone_number: &'static str,
    pub address1: &'static str,
    pub address2: &'static str,
    pub city: &'static str,
    pub state: &'static str,
    pub postal_code: &'static str,
    /// With the merchant's name.
    pub stores: fn(&str) -> String,
    /// With the amount.
    pub pay: fn(&str) -> String,
    pub pay_typed: &'static str,
    pub busy: &'static str,
    /// Between the wallets' buttons and the card.
    pub or_card: &'static str,
    pub wallet_failed: &'static str,
    pub cancel: &'static str,
}

/// What is wrong with a field, and what to do.
pub struct WrongTexts {
    pub title_prefix: &'static str,
    pub summary: &'static str,
    pub number_missing: &'static str,
    pub number_form: &'static str,
    pub number_luhn: &'static str,
    pub number_scheme: &'static str,
    pub number_in_text: &'static str,
    pub expiry_missing: &'static str,
    pub expiry_form: &'static str,
    pub expiry_past: &'static str,
    pub cvc_missing: &'static str,
    pub cvc_form: &'static str,
    pub cvc_three: &'static str,
    pub cvc_four: &'static str,
    pub name_missing: &'static str,
    pub holds_number: &'static str,
    pub holds_cvc: &'static str,
    pub too_long: fn(usize) -> String,
    pub letters: &'static str,
    pub amount_missing: &'static str,
    pub amount_form: &'static str,
    pub amount_positive: &'static str,
    pub amount_long: &'static str,
    /// With the currency's code and its decimals.
    pub amount_decimals: fn(&str, u32) -> String,
    pub country_missing: &'static str,
    pub email_missing: &'static str,
    pub email_form: &'static str,
    pub phone_missing: &'static str,
    pub address1_missing: &'static str,
    pub city_missing: &'static str,
}

/// Why a try was not paid, in plain words: a class of response codes each.
pub struct DeclinedTexts {
    pub heading: &'static str,
    /// With the tries that are left.
    pub left: fn(i64) -> String,
    pub bank: &'static str,
    pub funds: &'static str,
    pub limit: &'static str,
    pub expired: &'static str,
    pub cvc: &'static str,
    pub number: &'static str,
    pub unusable: &'static str,
    pub not_permitted: &'static str,
    pub unavailable: &'static str,
    pub authentication: &'static str,
    pub shop: &'static str,
    pub amount_range: &'static str,
    pub too_often: &'static str,
    pub reversed: &'static str,
    pub not_sent: &'static str,
    /// A wallet's token that cannot be charged.
    pub wallet: &'static str,
}

/// Pages that only tell something.
pub struct ToldTexts {
    pub not_found: &'static str,
    pub not_found_why: &'static str,
    pub paid: &'static str,
    /// With the merchant's name.
    pub paid_why: fn(&str) -> String,
    pub cancelled: &'static str,
    pub cancelled_why: &'static str,
    pub expired: &'static str,
    pub expired_why: &'static str,
    pub failed: &'static str,
    pub failed_why: &'static str,
    pub processing: &'static str,
    pub processing_why: &'static str,
    pub settling: &'static str,
    pub settling_why: &'static str,
    pub look_again: &'static str,
    pub waiting: &'static str,
    pub waiting_why: &'static str,
    pub continue_at_bank: &'static str,
    pub other_card: &'static str,
    pub too_many: &'static str,
    /// With seconds.
    pub too_many_why: fn(u64) -> String,
    pub foreign: &'static str,
    pub foreign_why: &'static str,
    pub broken: &'static str,
    pub broken_why: &'static str,
    pub unreadable: &'static str,
    pub unreadable_why: &'static str,
    pub back_to_page: &'static str,
}

/// Where a payment is confirmed in a wallet's own page; each with the wallet's name.
pub struct AccountTexts {
    pub pay: fn(&str) -> String,
    pub how: fn(&str) -> String,
    pub secure: fn(&str) -> String,
    /// With the merchant's name behind the wallet's.
    pub stores: fn(&str, &str) -> String,
    /// Why a try was not paid.
    pub not_confirmed: fn(&str) -> String,
    pub declined: fn(&str) -> String,
    pub funds: fn(&str) -> String,
    pub shop: fn(&str) -> String,
    pub reversed: fn(&str) -> String,
    pub not_sent: fn(&str) -> String,
    /// While it waits there.
    pub waiting: fn(&str) -> String,
    pub waiting_why: fn(&str) -> String,
    pub go_on: fn(&str) -> String,
    pub again: &'static str,
    pub settling: fn(&str) -> String,
}

//! The story of one transaction for the merchant who asks "why was this declined": what was asked, with which card and key,
//! what went to the acquirer and came back, what the ledger says, what followed and what is still to come. In order, each
//! line in English and Japanese, made from the rows that the payment left; nothing in it was secret in them.

mod cardholder;
mod traces;

pub use traces::{Planned, Traces};

use super::attempts::{Answered, Attempt, Message};
use super::transaction::{Kind, Source, State, Transaction};
use crate::acquirer::Initiator;
use crate::app::App;
use crate::clock::{Millis, timestamp};
use crate::codes::Code;
use crate::error::Error;
use crate::id::TransactionId;
use crate::jobs;
use crate::ledger::{ACCOUNTS, Account, Entry};
use crate::money::Money;
use crate::response_codes::{self, Retry};
use crate::risk::{Fired, Note};
use crate::subscription::Part;
use crate::wallet::Wallet;
use crate::webhook::courier::Tried;
use crate::webhook::{self, Delivery};
use serde::Serialize;
use utoipa::ToSchema;

#[derive(Serialize, ToSchema)]
pub struct Story {
    pub success: bool,
    pub status_code: u16,
    pub is_live: bool,
    #[schema(value_type = String)]
    pub transaction_id: TransactionId,
    /// As in a status answer.
    pub state: &'static str,
    pub lines: Vec<Line>,
}

#[derive(Serialize, ToSchema)]
pub struct Line {
    pub at: String,
    /// A stable word: `asked`, `vault`, `risk`, `sent`, `answered`, `ledger`, `followed_by`, `webhook`, `result`, `planned`.
    pub step: &'static str,
    pub en: String,
    pub ja: String,
}

/// Lines with the time that they are sorted by.
#[derive(Default)]
struct Lines(Vec<(Millis, Line)>);

impl Lines {
    fn add(&mut self, at: Millis, step: &'static str, en: String, ja: String) {
        self.0.push((at, Line { at: timestamp(at), step, en, ja }));
    }
}

pub async fn story(app: &App, found: &Transaction) -> Result<Story, Error> {
    let ahead = app.ahead(found.caller).await?;
    Ok(tell(found, &traces::read(app, found, ahead).await?, app.clock.now() + ahead))
}

/// Pure: the same rows tell the same story.
pub fn tell(found: &Transaction, traces: &Traces, now: Millis) -> Story {
    let mut lines = Lines::default();
    asked(&mut lines, found);
    cardholder::asked(&mut lines, found);
    vault(&mut lines, found, traces.sealed);
    for attempt in &traces.attempts {
        sent(&mut lines, attempt);
    }
    for entry in &traces.entries {
        booked(&mut lines, found, entry);
    }
    for child in &traces.children {
        followed(&mut lines, child);
    }
    let answered = traces.attempts.iter().filter_map(|attempt| attempt.answered_at);
    let end = answered.chain(traces.entries.iter().map(|entry| entry.created_at)).max().unwrap_or(found.created_at);
    result(&mut lines, found, end);
    for (event, tries) in &traces.told {
        heard(&mut lines, event, tries);
    }
    for job in &traces.planned {
        waits(&mut lines, job, now);
    }
    lines.0.sort_by_key(|(at, _)| *at);
    Story {
        success: true,
        status_code: 200,
        is_live: found.caller.live,
        transaction_id: found.id,
        state: found.state.name(),
        lines: lines.0.into_iter().map(|(_, line)| line).collect(),
    }
}

fn amount(money: Money) -> String {
    format!("{} {}", money.major(), money.currency.code())
}

/// Of a charge: by whom, and from which wallet.
fn initiated(found: &Transaction) -> (String, String) {
    let brand = found.details.wallet.map(Wallet::brand);
    let (from_en, from_ja) =
        brand.map_or_else(Default::default, |name| (format!(", from {name}"), format!("{name}、")));
    match (found.is_charge(), found.initiator) {
        (true, Initiator::Merchant) => {
            (format!("{from_en}, initiated by the merchant"), format!("（{from_ja}加盟店起点）"))
        }
        (true, Initiator::Customer) => {
            (format!("{from_en}, initiated by the customer"), format!("（{from_ja}顧客起点）"))
        }
        (false, _) => Default::default(),
    }
}

fn asked(lines: &mut Lines, found: &Transaction) {
    let money = amount(found.money);
    // An account in a wallet has no number.
    let masked = found.scheme.wallet().map_or(found.masked.as_str(), |_| found.scheme.label());
    let (what, what_ja) =
        if found.scheme.wallet().is_some() { ("account in", "ウォレット") } else { ("card", "カード") };
    let (en, ja) = match (found.kind, found.parent) {
        (Kind::PreAuth, _) if found.money.minor == 0 => {
            (format!("A verification of card {masked} was asked"), format!("カード {masked} の有効性確認の依頼"))
        }
        (Kind::PreAuth, _) => (
            format!("An authorization of {money} on {what} {masked} was asked"),
            format!("{what_ja} {masked} への {money} のオーソリの依頼"),
        ),
        (Kind::Capture, None) => (
            format!("A payment of {money} with {what} {masked} was asked"),
            format!("{what_ja} {masked} での {money} の支払いの依頼"),
        ),
        (Kind::Capture, Some(hold)) => (
            format!("A capture of {money} of authorization {hold} was asked"),
            format!("オーソリ {hold} のうち {money} の売上確定の依頼"),
        ),
        (Kind::Refund, _) => (format!("A refund of {money} was asked"), format!("{money} の返金の依頼")),
        (Kind::Void, _) if found.details.lapse => {
            (format!("The hold of {money} reached its end"), format!("{money} のオーソリが期限に達した"))
        }
        (Kind::Void, _) => {
            (format!("A void of the hold of {money} was asked"), format!("{money} のオーソリの取消の依頼"))
        }
    };
    let (by_en, by_ja) = initiated(found);
    let checks_en = "; all fields passed the checks.";
    let checks_ja = "。すべての項目が検査を通過。";
    lines.add(found.created_at, "asked", format!("{en}{by_en}{checks_en}"), format!("{ja}{by_ja}{checks_ja}"));
    if let Some(share) = &found.details.subscription {
        let id = share.id;
        let (en, ja) = match &share.part {
            Part::Begins { completed: 0, .. } => (
                format!("It begins subscription {id}: the card is verified."),
                format!("定期課金 {id} の開始時のカード確認。"),
            ),
            Part::Begins { .. } => {
                (format!("It begins subscription {id} with cycle 1."), format!("定期課金 {id} の 1 回目。"))
            }
            Part::Renews { cycle, .. } => (
                format!("It is for cycle {cycle} of subscription {id}."),
                format!("定期課金 {id} の {cycle} 回目の請求。"),
            ),
            Part::Changes { .. } => (
                format!("It verifies another card of subscription {id}."),
                format!("定期課金 {id} のカード変更に伴う確認。"),
            ),
        };
        lines.add(found.created_at, "subscription", en, ja);
    }
    if let Some(code) = found.code.filter(|code| code.name().starts_with("ERR30")) {
        let (name, when) = (code.name(), code.meaning().when);
        let text = response_codes::text(found.response_code.unwrap_or(-1), true);
        let en = format!("Refused before the bank was asked, {name}: {when}.");
        lines.add(found.created_at, "risk", en, format!("銀行に問い合わせる前に拒否、{name}：{text}。"));
    }
    if let Some(note) = &found.details.risk {
        judged(lines, found, note);
    }
}

/// Which rules fired, and what they did.
fn judged(lines: &mut Lines, found: &Transaction, note: &Note) {
    for Fired { rule, effect, code } in &note.fired {
        let (en, ja) = match effect.as_str() {
            "shadow" => (
                format!("Rule {rule} would have refused it ({code}), but only watches."),
                format!("ルール {rule} は拒否（{code}）に相当するが、監視のみ。"),
            ),
            "score" => (
                format!("Rule {rule} added to the risk score ({code})."),
                format!("ルール {rule} がリスクスコアを加算（{code}）。"),
            ),
            _ => (format!("Rule {rule} refused it ({code})."), format!("ルール {rule} により拒否（{code}）。")),
        };
        lines.add(found.created_at, "risk", en, ja);
    }
    if let Some(score) = note.score {
        let ja = format!("リスクスコアは 100 中 {score}。");
        lines.add(found.created_at, "risk", format!("The risk score is {score} of 100."), ja);
    }
}

/// Which keys the card was under. The card itself may be erased by now.
fn vault(lines: &mut Lines, found: &Transaction, sealed: Option<(i64, bool)>) {
    if let (Source::Token, Some(token), Some(key)) = (found.source, found.token, found.details.vault_key) {
        // A subscription's own is told to nobody (contract section 7).
        let owned = found.details.subscription.as_ref().is_some_and(|share| share.owned);
        let (en, ja) = if owned { (String::new(), String::new()) } else { (format!(" {token}"), format!(" {token} ")) };
        let en = format!("The stored card{en} was opened with vault key {key}.");
        lines.add(found.created_at, "vault", en, format!("保存カード{ja}を保管庫の鍵 {key} で復号。"));
    }
    if let Some((key, erased)) = sealed {
        let (en, ja) = if erased { (" It is erased by now.", "現在は消去済み。") } else { ("", "") };
        let en = format!("The card was sealed for this payment alone with vault key {key}.{en}");
        lines.add(found.created_at, "vault", en, format!("この取引専用にカードを保管庫の鍵 {key} で暗号化。{ja}"));
    }
}

fn sent(lines: &mut Lines, attempt: &Attempt) {
    let (en, ja) = match attempt.message {
        Some(Message::Charge) => ("The charge", "請求"),
        Some(Message::Reversal) => ("A reversal", "取消（リバーサル）"),
        Some(Message::Capture) => ("The capture", "売上確定"),
        Some(Message::Refund) => ("The refund", "返金"),
        Some(Message::Void) => ("The void", "オーソリの取消"),
        Some(Message::Inquiry) => ("An inquiry", "照会"),
        Some(Message::Release) => ("The release of the remainder", "残額の解放"),
        None => ("A message", "電文"),
    };
    let (acquirer, reference) = (&attempt.acquirer, &attempt.reference);
    // A reversal's and a release's field 37 is the original's in many dialects.
    let borrows = matches!(attempt.message, Some(Message::Reversal | Message::Release));
    let trace = |stan: &str, rrn: &str| match &attempt.trace {
        Some(trace) if borrows => format!("{stan}{:06}", trace.stan),
        Some(trace) => format!("{stan}{:06}{rrn}{}", trace.stan, trace.rrn),
        None => String::new(),
    };
    lines.add(
        attempt.sent_at,
        "sent",
        format!(
            "{en} went to acquirer {acquirer} under reference {reference}{}.",
            trace(", trace number ", ", retrieval reference number ")
        ),
        format!("{ja}をアクワイアラ {acquirer} へ送信（参照番号 {reference}{}）。", trace("、トレース番号 ", "、RRN ")),
    );
    let Some(answered) = attempt.answered else { return };
    let at = attempt.answered_at.unwrap_or(attempt.sent_at);
    let (en, ja) = match (answered, attempt.response_code) {
        (Answered::Approved, Some(79)) => {
            ("The bank had undone it already.".to_owned(), "銀行では取消済み。".to_owned())
        }
        (Answered::Approved, _) => ("The bank approved.".to_owned(), "銀行が承認。".to_owned()),
        (Answered::Declined, code) => declined(code.unwrap_or(-1)),
        (Answered::Unknown, _) => (
            "No answer came, or none that could be read: what the bank did is not known.".to_owned(),
            "応答なし、または判読不能：銀行側の結果は不明。".to_owned(),
        ),
        (Answered::NotSent, _) => (
            "The connection was refused: nothing reached the bank.".to_owned(),
            "接続拒否：銀行には何も届いていない。".to_owned(),
        ),
    };
    lines.add(at, "answered", en, ja);
}

fn declined(code: i64) -> (String, String) {
    let row = response_codes::find(code);
    let (en, ja) = match row.map(|row| row.retry) {
        Some(Retry::Later) => (" It may be tried again later.", "後で再試行できる。"),
        Some(Retry::Never) => (" Do not try this card again.", "このカードでの再試行は不可。"),
        Some(Retry::Unsaid) | None => ("", ""),
    };
    let (text_en, text_ja) = (response_codes::text(code, false), response_codes::text(code, true));
    (format!("The bank answered {code}: {text_en}.{en}"), format!("銀行の応答 {code}：{text_ja}。{ja}"))
}

fn booked(lines: &mut Lines, found: &Transaction, entry: &Entry) {
    let account = |id: i64| ACCOUNTS.into_iter().find(|account| *account as i64 == id);
    let name = |id| account(id).map_or("unknown", Account::name);
    let money = amount(Money { minor: entry.amount_minor, currency: found.money.currency });
    let (debit, credit) = (name(entry.debit), name(entry.credit));
    lines.add(
        entry.created_at,
        "ledger",
        format!("Ledger entry {}: {money}, debit {debit}, credit {credit}.", entry.number),
        format!("元帳の仕訳 {}：{money}、借方 {debit}、貸方 {credit}。", entry.number),
    );
}

fn followed(lines: &mut Lines, child: &Transaction) {
    let (id, kind, state, money) = (child.id, child.kind.name(), child.state.name(), amount(child.money));
    lines.add(
        child.created_at,
        "followed_by",
        format!("{kind} {id} of {money} followed; it is {state}."),
        format!("{kind} {id}（{money}）が続く。状態は {state}。"),
    );
}

fn result(lines: &mut Lines, found: &Transaction, at: Millis) {
    let code = found.code.map_or("", Code::name);
    let (en, ja) = match found.state {
        State::Waiting => cardholder::waits(found.details.waits.as_ref()),
        State::Pending => ("It is being made right now.".to_owned(), "処理中。".to_owned()),
        State::Unknown if found.is_charge() => (
            format!("The caller was told {code}: the charge is being reversed and can never become approved."),
            format!("呼び出し元への応答は {code}：取消処理中であり、承認になることはない。"),
        ),
        State::Unknown => (
            format!("The caller was told {code}: the result is being found out; do not send it again."),
            format!("呼び出し元への応答は {code}：結果を確認中。再送しないこと。"),
        ),
        State::Reversed => (
            format!("The bank confirmed the reversal; the answer is {code}, for ever."),
            format!("銀行が取消を確認。応答は {code} で確定。"),
        ),
        state => {
            let name = state.name();
            (format!("The end: {name}, told as {code}."), format!("結果：{name}、応答コード {code}。"))
        }
    };
    lines.add(at, "result", en, ja);
}

/// Whether the merchant's receiver heard of it.
fn heard(lines: &mut Lines, event: &webhook::Event, tries: &[Tried]) {
    let id = event.id;
    let (en, ja) = match event.delivery {
        Delivery::None => (
            format!("Event {id}: no webhook_url was given, so it is in the feed only."),
            format!("イベント {id}：webhook_url の指定なし。フィードのみ。"),
        ),
        _ => (format!("Event {id}: the merchant is told."), format!("イベント {id}：加盟店に通知。")),
    };
    lines.add(event.created_at, "webhook", en, ja);
    for one in tries {
        let (en, ja) = match (one.status, &one.problem) {
            (Some(status), _) => (
                format!("The webhook's receiver answered {status} in {} ms.", one.ms),
                format!("Webhook の受信側の応答 {status}（{} ミリ秒）。", one.ms),
            ),
            (None, problem) => {
                let why = problem.as_deref().unwrap_or("no answer");
                (format!("The webhook was not delivered; {why}."), format!("Webhook は未達（{why}）。"))
            }
        };
        lines.add(one.at, "webhook", en, ja);
    }
    let (en, ja) = match event.delivery {
        Delivery::Failed => ("The webhook's tries are over.", "Webhook の再送は終了。"),
        Delivery::Gone => ("The receiver wants no more of it (410).", "受信側が終了を要求（410）。"),
        Delivery::Refused => ("The webhook is not tried again.", "Webhook の再送はしない。"),
        Delivery::None | Delivery::Waiting | Delivery::Delivered => return,
    };
    let at = tries.last().map_or(event.created_at, |one| one.at + one.ms);
    lines.add(at, "webhook", en.to_owned(), ja.to_owned());
}

fn waits(lines: &mut Lines, job: &Planned, now: Millis) {
    let (at, attempts) = (timestamp(job.due_at), job.attempts);
    let (en, ja) = match job.kind {
        Some(jobs::Kind::Recover) => (
            format!("The bank is asked again at {at}; tries so far: {attempts}."),
            format!("{at} に銀行へ再度確認。これまでの試行 {attempts} 回。"),
        ),
        Some(jobs::Kind::Lapse) => (format!("The hold ends at {at}."), format!("オーソリの期限は {at}。")),
        Some(jobs::Kind::Abandon) => {
            (format!("The cardholder's time ends at {at}."), format!("本人認証の期限は {at}。"))
        }
        _ => (format!("The hold's remainder is released at {at}."), format!("{at} にオーソリの残額を解放。")),
    };
    // Behind everything that has happened.
    lines.add(job.due_at.max(now), "planned", en, ja);
}

//! The dialect's tables of messages, read and checked before the first payment.

use super::codec::Codec;
use super::dialect::{Dialect, Show};
use super::kind::{KINDS, Kind};
use super::message::{Message, Mti};
use super::template::{Field, Source, Template, Text};
use super::values::{Has, Variable, Weight};
use std::collections::BTreeMap;

/// Systems trace audit number.
pub const STAN: u8 = 11;

/// A field's number and the tag of a sub-element, which is empty for a whole field.
pub type At = (u8, String);

/// `48`, `48.22`. `None` for what is neither.
pub fn at(key: &str) -> Option<At> {
    let (number, tag) = key.split_once('.').map_or((key, None), |(number, tag)| (number, Some(tag)));
    let plain = !number.starts_with('0') && number.bytes().all(|byte| byte.is_ascii_digit());
    let number = Some(number).filter(|_| plain)?.parse().ok().filter(|number| (2..=128).contains(number))?;
    (tag != Some("")).then(|| (number, tag.unwrap_or_default().to_owned()))
}

/// The messages of `[messages.X]`, with what `[common]` gives to those about payments. By [`Kind`].
///
/// # Errors
/// The first mistake, with its key, for the operator.
pub fn messages(tables: &toml::Table, common: &toml::Table, codec: &Codec) -> Result<Vec<Option<Template>>, String> {
    if let Some(unknown) = tables.keys().find(|name| !KINDS.iter().any(|row| row.1 == name.as_str())) {
        return Err(format!("messages.{unknown}: there is no such message"));
    }
    let mut found = Vec::with_capacity(KINDS.len());
    for (kind, name) in KINDS {
        found.push(match tables.get(name) {
            Some(toml::Value::Table(table)) => Some(message(kind, name, table, common, codec)?),
            Some(_) => return Err(format!("messages.{name}: not a table")),
            None if kind.may_be_missing() => None,
            None => return Err(format!("messages.{name}: missing")),
        });
    }
    let all: Vec<_> =
        KINDS.iter().zip(&found).filter_map(|(row, template)| Some((row.1, template.as_ref()?))).collect();
    for (position, (name, template)) in all.iter().enumerate() {
        if let Some((other, _)) = all[..position].iter().find(|(_, other)| !template.differs(other)) {
            return Err(format!("messages.{name}: a host could not tell it from messages.{other}"));
        }
    }
    Ok(found)
}

fn message(
    kind: Kind,
    name: &str,
    table: &toml::Table,
    common: &toml::Table,
    codec: &Codec,
) -> Result<Template, String> {
    let mtis = mtis(table.get("mti"), codec).map_err(|why| format!("messages.{name}.mti: {why}"))?;
    let shared = common.iter().filter(|_| !kind.manages()).map(|(key, value)| ("common".to_owned(), key, value));
    let own = table.iter().filter(|(key, _)| *key != "mti");
    let own = own.map(|(key, value)| (format!("messages.{name}"), key, value));
    let mut fields: BTreeMap<At, Field> = BTreeMap::new();
    for (within, key, value) in shared.chain(own) {
        let wrong = |why: String| format!("{within}.{key}: {why}");
        let at = at(key).ok_or_else(|| wrong("not a field, like 4 or \"48.22\"".into()))?;
        // Nothing in the place of what is common.
        if value.as_str() == Some("") {
            fields.remove(&at);
            continue;
        }
        let source = source(value).map_err(wrong)?;
        let field = Field { number: at.0, tag: at.1.clone(), source };
        check(kind, &field, codec).map_err(wrong)?;
        fields.insert(at, field);
    }
    let whole_and_parts =
        fields.keys().find(|(number, tag)| !tag.is_empty() && fields.contains_key(&(*number, String::new())));
    if let Some((number, _)) = whole_and_parts {
        return Err(format!("messages.{name}.{number}: as a whole and in parts"));
    }
    let template = Template { mtis, fields: fields.into_values().collect() };
    suffices(kind, &template).map_err(|why| format!("messages.{name}{why}"))?;
    Ok(template)
}

/// Whether payments can work by such a message: its answer can be told from others, and the host learns of which card or which
/// earlier message it is, and of how much.
fn suffices(kind: Kind, template: &Template) -> Result<(), String> {
    use Variable as V;
    let says = |variable| says(kind, template, variable);
    let stan = |field: &Field| {
        let text = field.source.texts().next().and_then(Text::variable);
        field.number == STAN && field.tag.is_empty() && text == Some(V::Stan)
    };
    if !template.fields.iter().any(stan) {
        return Err(".11: must be \"$stan\", by which answers find their requests".into());
    }
    let must: &[Variable] = match kind {
        Kind::Authorize | Kind::Purchase | Kind::Verify => &[V::Pan, V::Amount, V::Currency],
        // A host would take or give back all of it.
        Kind::Capture | Kind::Refund => &[V::Amount],
        _ => &[],
    };
    if let Some(missing) = must.iter().find(|variable| !says(**variable)) {
        return Err(format!(": must say ${}, here or in [common], with nothing that may be missing", missing.name()));
    }
    if kind == Kind::Release && ![V::Amount, V::Replacement, V::ReplacementAmount].into_iter().any(says) {
        return Err(": must say how much is let go: $amount, $replacement or $replacement_amount".into());
    }
    let timed = || [V::OriginalTime, V::OriginalLocalTime, V::OriginalLocalDate].into_iter().any(says);
    let names = says(V::Original) || says(V::OriginalRrn) || says(V::OriginalStan) && timed();
    if kind.follows() && !names {
        const HOW: &str = "$original, or $original_rrn, or $original_stan with one of the original's times";
        return Err(format!(": must name its original: {HOW}"));
    }
    Ok(())
}

/// Whether all messages of the kind have the variable: in a field that is no matter of choice, with nothing beside it that may
/// be missing.
fn says(kind: Kind, template: &Template, variable: Variable) -> bool {
    let always = |variable: Variable| match variable {
        Variable::LocalTime | Variable::LocalDate | Variable::LocalYear => true,
        Variable::Pan | Variable::Expiry => kind.charges(),
        _ => variable.weight() == Weight::Must,
    };
    template.fields.iter().any(|field| match &field.source {
        Source::Text(text) => text.variables().any(|other| other == variable) && text.variables().all(always),
        Source::Choice { .. } => false,
    })
}

/// Refuses to show what messages say of secrets, in whatever field or sub-element their tables put it.
///
/// # Errors
/// The key by which it would be shown.
pub fn hides(dialect: &Dialect, templates: &[Option<Template>]) -> Result<(), String> {
    for field in templates.iter().flatten().flat_map(|template| &template.fields) {
        let Field { number, tag, source } = field;
        let described = dialect.fields.get(number);
        let (key, show) = match described {
            Some(described) if tag.is_empty() => (format!("fields.{number}"), described.shown(*number)),
            // What is not named is not shown.
            _ => {
                let element = described.and_then(|described| described.named.get(tag));
                (format!("fields.{number}.named.{tag}"), element.map_or(Show::None, |element| element.show))
            }
        };
        let secret = source.texts().flat_map(Text::variables).find(|variable| show > variable.shown());
        if let Some(secret) = secret {
            let most = if secret.shown() == Show::Pan { "pan" } else { "none" };
            return Err(format!("{key}.show: must be \"{most}\", since messages have ${} there", secret.name()));
        }
    }
    Ok(())
}

fn mtis(value: Option<&toml::Value>, codec: &Codec) -> Result<Vec<Mti>, String> {
    const WRONG: &str =
        "a list of one to three message types of requests, by try, such as [\"0400\", \"0420\", \"0421\"]";
    let list = value.and_then(toml::Value::as_array).filter(|list| (1..=3).contains(&list.len())).ok_or(WRONG)?;
    let request = |value: &toml::Value| Mti::parse(value.as_str()?.as_bytes()).filter(|mti| mti.answer().is_some());
    let mtis: Option<Vec<Mti>> = list.iter().map(request).collect();
    let mtis = mtis.filter(|mtis| (1..mtis.len()).all(|at| !mtis[..at].contains(&mtis[at]))).ok_or(WRONG)?;
    for mti in &mtis {
        codec.encode(&Message::new(*mti), &mut Vec::new()).map_err(|wrong| wrong.why)?;
    }
    Ok(mtis)
}

fn source(value: &toml::Value) -> Result<Source, String> {
    const WRONG: &str = "a text, or a choice such as { by = \"entry\", ecommerce = \"812\", stored = \"102\" }";
    let table = match value {
        toml::Value::String(text) => return Ok(Source::Text(Text::parse(text)?)),
        toml::Value::Table(table) => table,
        _ => return Err(WRONG.into()),
    };
    let by = table.get("by").and_then(toml::Value::as_str).ok_or(WRONG)?;
    let by = Variable::parse(by).filter(|by| !by.words().is_empty()).ok_or("nothing can be chosen by that")?;
    let (mut arms, mut other) = (Vec::new(), None);
    for (name, value) in table.iter().filter(|(name, _)| *name != "by") {
        let text = Text::parse(value.as_str().filter(|text| !text.is_empty()).ok_or(WRONG)?)?;
        match (name.as_str(), by.words().iter().find(|word| *word == name)) {
            ("other", _) => other = Some(text),
            (_, Some(word)) => arms.push((*word, text)),
            (_, None) => return Err(format!("{name} is no word of {}: {}", by.name(), by.words().join(", "))),
        }
    }
    if arms.is_empty() { Err(WRONG.into()) } else { Ok(Source::Choice { by, arms, other }) }
}

/// Whether messages of the kind can have this field.
fn check(kind: Kind, field: &Field, codec: &Codec) -> Result<(), String> {
    let by = match &field.source {
        Source::Choice { by, .. } => Some(*by),
        Source::Text(_) => None,
    };
    for variable in field.source.texts().flat_map(Text::variables).chain(by) {
        let has = match variable.has() {
            Has::All => true,
            Has::Payments => !kind.manages(),
            Has::Followers => kind.follows(),
            Has::Releases => kind == Kind::Release,
        };
        if !has {
            return Err(format!("this message has no {}", variable.name()));
        }
        if variable.weight() == Weight::Must && by.is_some() {
            return Err(format!("the {} is no matter of choice", variable.name()));
        }
    }
    for text in field.source.texts() {
        codec.fits(field.number, &field.tag, text.sample().as_bytes()).map_err(|wrong| wrong.why)?;
    }
    Ok(())
}

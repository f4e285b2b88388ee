//! One message of a dialect's tables, made ready for work: from values to fields, and back for a host that listens.

use super::Wrong;
use super::codec::Codec;
use super::message::{Message, Mti, room};
use super::values::{Values, Variable, Weight};
use zeroize::Zeroizing;

/// A field's text: constants and variables, one behind the other.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Text(Vec<Part>);

#[derive(Clone, Debug, PartialEq, Eq)]
enum Part {
    Constant(String),
    Value(Variable),
}

impl Text {
    /// `812`, `$amount`, `C${stan}1`; `$$` is a dollar.
    ///
    /// # Errors
    /// What is wrong, for the operator.
    pub fn parse(text: &str) -> Result<Text, String> {
        let (mut parts, mut constant, mut rest) = (Vec::new(), String::new(), text);
        while let Some((before, behind)) = rest.split_once('$') {
            constant.push_str(before);
            if let Some(behind) = behind.strip_prefix('$') {
                constant.push('$');
                rest = behind;
                continue;
            }
            let (name, behind) = match behind.strip_prefix('{') {
                Some(braced) => braced.split_once('}').ok_or("a brace is not closed")?,
                None => behind.split_at(behind.find(|c| !matches!(c, 'a'..='z' | '_')).unwrap_or(behind.len())),
            };
            let variable = Variable::parse(name).ok_or_else(|| format!("there is no variable ${name}"))?;
            if let Weight::Word(_) = variable.weight() {
                return Err(format!("${name} is a word to choose by, not to send"));
            }
            if !constant.is_empty() {
                parts.push(Part::Constant(std::mem::take(&mut constant)));
            }
            parts.push(Part::Value(variable));
            rest = behind;
        }
        constant.push_str(rest);
        if !constant.is_empty() {
            parts.push(Part::Constant(constant));
        }
        Ok(Text(parts))
    }

    pub fn variables(&self) -> impl Iterator<Item = Variable> {
        self.0.iter().filter_map(|part| match part {
            Part::Value(variable) => Some(*variable),
            Part::Constant(_) => None,
        })
    }

    /// `None` where a variable is in it.
    pub fn constant(&self) -> Option<&str> {
        match self.0.as_slice() {
            [Part::Constant(text)] => Some(text),
            _ => None,
        }
    }

    /// `None` where it is not one variable alone.
    pub fn variable(&self) -> Option<Variable> {
        match self.0.as_slice() {
            [Part::Value(variable)] => Some(*variable),
            _ => None,
        }
    }

    /// As it may come out: zeros stand for variables, a single one for what may be of any length.
    pub fn sample(&self) -> String {
        let part = |part: &Part| match part {
            Part::Constant(text) => text.clone(),
            Part::Value(variable) => "0".repeat(variable.width().unwrap_or(1)),
        };
        self.0.iter().map(part).collect()
    }

    fn weighs(&self, weight: Weight) -> bool {
        self.variables().any(|variable| variable.weight() == weight)
    }

    /// The values that `text` was made of; `None` when it cannot have been made of this. Two variables of any length beside each
    /// other, or with a constant between them, stay unread: nothing says where the one ends.
    fn read<'m>(&self, text: &'m str, values: &mut Values<'m>) -> Option<()> {
        if let Some(variable) = self.variable() {
            values.set(variable, unpadded(variable, text));
            return Some(());
        }
        let free = |part: &&Part| matches!(part, Part::Value(variable) if variable.width().is_none());
        if self.0.iter().filter(free).count() > 1 {
            return Some(());
        }
        let known: usize = self.0.iter().map(Part::length).sum();
        let mut rest = text;
        for part in &self.0 {
            match part {
                Part::Constant(constant) => rest = rest.strip_prefix(constant.as_str())?,
                Part::Value(variable) => {
                    let width = variable.width().or_else(|| text.len().checked_sub(known))?;
                    let (value, behind) = rest.split_at_checked(width)?;
                    values.set(*variable, value);
                    rest = behind;
                }
            }
        }
        rest.is_empty().then_some(())
    }
}

impl Part {
    /// Bytes; 0 for a variable of any length.
    fn length(&self) -> usize {
        match self {
            Part::Constant(text) => text.len(),
            Part::Value(variable) => variable.width().unwrap_or(0),
        }
    }
}

/// A field of digits may be longer than the value in it: zeros stand in front then.
fn unpadded(variable: Variable, text: &str) -> &str {
    let longer = variable.width().and_then(|width| text.len().checked_sub(width));
    match longer.and_then(|longer| text.split_at_checked(longer)) {
        Some((zeros, value)) if zeros.bytes().all(|byte| byte == b'0') => value,
        _ => text,
    }
}

/// What a field is made of.
#[derive(Clone, Debug)]
pub enum Source {
    Text(Text),
    Choice {
        by: Variable,
        arms: Vec<(&'static str, Text)>,
        /// Where no arm is right.
        other: Option<Text>,
    },
}

impl Source {
    /// All that may come of it.
    pub fn texts(&self) -> impl Iterator<Item = &Text> {
        let (text, arms, other) = match self {
            Source::Text(text) => (Some(text), [].as_slice(), None),
            Source::Choice { arms, other, .. } => (None, arms.as_slice(), other.as_ref()),
        };
        text.into_iter().chain(arms.iter().map(|arm| &arm.1)).chain(other)
    }

    fn chosen(&self, values: &Values<'_>) -> Option<&Text> {
        match self {
            Source::Text(text) => Some(text),
            Source::Choice { by, arms, other } => {
                let word = values.get(*by);
                let arm = arms.iter().find(|(name, _)| word == Some(*name));
                arm.map(|arm| &arm.1).or(other.as_ref())
            }
        }
    }

    fn is_constant(&self) -> bool {
        self.texts().all(|text| text.constant().is_some())
    }

    fn has(&self, constant: &[u8]) -> bool {
        self.texts().any(|text| text.constant().is_some_and(|text| text.as_bytes() == constant))
    }

    /// A message without this field, or with another constant in it, is another message.
    fn tells(&self) -> bool {
        match self {
            Source::Text(text) => text.constant().is_some() || text.weighs(Weight::Must),
            Source::Choice { .. } => false,
        }
    }
}

/// One field of a message, or a sub-element of one.
#[derive(Clone, Debug)]
pub struct Field {
    pub number: u8,
    /// Of a sub-element; empty for a whole field.
    pub tag: String,
    pub source: Source,
}

impl Field {
    fn fill(
        &self,
        values: &Values<'_>,
        codec: &Codec,
        joined: &mut Zeroizing<Vec<u8>>,
        message: &mut Message,
    ) -> Result<(), Wrong> {
        let Some(text) = self.source.chosen(values) else { return Ok(()) };
        joined.clear();
        let mut whole: Option<&str> = None;
        for part in &text.0 {
            let value = match part {
                Part::Constant(constant) => constant,
                Part::Value(variable) => match values.get(*variable) {
                    Some(value) => value,
                    None if variable.weight() == Weight::Must => {
                        return Err(Wrong::new(self.number, format!("there is no {}", variable.name())));
                    }
                    None => return Ok(()),
                },
            };
            match text.0.len() {
                1 => whole = Some(value),
                _ => {
                    room(joined, value.len());
                    joined.extend_from_slice(value.as_bytes());
                }
            }
        }
        let value = whole.map_or(joined.as_slice(), str::as_bytes);
        match self.fits(text, values, codec, value) {
            Ok(()) => message.add(self.number, &self.tag, value),
            Err(wrong) if text.weighs(Weight::Must) || text.weighs(Weight::Exact) => return Err(wrong),
            Err(wrong) => tracing::warn!(%wrong, "a value does not fit the bank's message and was left out"),
        }
        Ok(())
    }

    /// Constants and what is always of one length were checked when the dialect was read.
    fn fits(&self, text: &Text, values: &Values<'_>, codec: &Codec, value: &[u8]) -> Result<(), Wrong> {
        let mut checked = true;
        for variable in text.variables() {
            match variable.width() {
                Some(width) if values.get(variable).is_none_or(|value| value.len() != width) => {
                    return Err(Wrong::new(self.number, format!("the {} is not {width} characters", variable.name())));
                }
                Some(_) if variable.weight() == Weight::Must => {}
                _ => checked = false,
            }
        }
        if checked { Ok(()) } else { codec.fits(self.number, &self.tag, value) }
    }

    fn text<'m>(&self, message: &'m Message) -> Option<&'m str> {
        std::str::from_utf8(message.sub(self.number, &self.tag)?).ok()
    }

    /// Whether `message` has the field; `None` when it cannot be of this field's message.
    fn agrees(&self, message: &Message) -> Option<bool> {
        let value = message.sub(self.number, &self.tag);
        let may_be = match &self.source {
            Source::Text(made) => match made.constant() {
                Some(constant) => value == Some(constant.as_bytes()),
                None => value.is_some() || !made.weighs(Weight::Must),
            },
            choice if choice.is_constant() => value.is_none_or(|value| choice.has(value)),
            Source::Choice { .. } => true,
        };
        may_be.then_some(value.is_some())
    }

    /// Whether no message has both this field and `other` as their messages' tables say.
    fn excludes(&self, other: &Field) -> bool {
        // Two choices may both be left out.
        let sure = matches!(self.source, Source::Text(_)) || matches!(other.source, Source::Text(_));
        let constant = self.source.is_constant() && other.source.is_constant();
        sure && constant
            && !self.source.texts().filter_map(Text::constant).any(|text| other.source.has(text.as_bytes()))
    }
}

/// A message of one kind.
#[derive(Clone, Debug)]
pub struct Template {
    /// By try: the first, the second, all later ones.
    pub mtis: Vec<Mti>,
    /// By number and tag.
    pub fields: Vec<Field>,
}

impl Template {
    /// The message with these values. What of them does not fit is left out and told in the log, as far as the payment can do
    /// without.
    ///
    /// # Errors
    /// A value that the message cannot do without is not there, or does not fit.
    pub fn fill(&self, tries: u32, values: &Values<'_>, codec: &Codec) -> Result<Message, Wrong> {
        let last = self.mtis.len() - 1;
        let mut message = Message::new(self.mtis[usize::try_from(tries).unwrap_or(last).min(last)]);
        let mut joined = Zeroizing::new(Vec::new());
        for field in &self.fields {
            field.fill(values, codec, &mut joined, &mut message)?;
        }
        Ok(message)
    }

    /// How many of its fields `message` has, and which try it is; `None` when it cannot be of this kind.
    pub fn likeness(&self, message: &Message) -> Option<(usize, u32)> {
        let tries = self.mtis.iter().position(|mti| *mti == message.mti())?;
        let mut there = 0;
        for field in &self.fields {
            there += usize::from(field.agrees(message)?);
        }
        Some((there, u32::try_from(tries).ok()?))
    }

    /// The values that `message` was made of. `None` when it was not made of this.
    pub fn read<'m>(&self, message: &'m Message) -> Option<Values<'m>> {
        let mut values = Values::default();
        // The words come first: other fields are chosen by them.
        for field in &self.fields {
            if let (Source::Choice { by, arms, .. }, Some(text)) = (&field.source, field.text(message)) {
                let mut right = arms.iter().filter(|arm| arm.1.constant() == Some(text)).map(|arm| arm.0);
                if let (Some(word), None) = (right.next(), right.next()) {
                    values.set(*by, word);
                }
            }
        }
        for field in &self.fields {
            let Some(text) = field.text(message) else { continue };
            if let Some(made) = field.source.chosen(&values) {
                made.read(text, &mut values)?;
            }
        }
        Some(values)
    }

    /// Whether a host can tell this message from the other one: one that lacks a field without which it is not this one, and
    /// one that has more of its own fields ([`Template::likeness`]).
    pub fn differs(&self, other: &Template) -> bool {
        if !self.mtis.iter().any(|mti| other.mtis.contains(mti)) {
            return true;
        }
        let at = |template: &Template, field: &Field| {
            template.fields.iter().position(|other| (other.number, &other.tag) == (field.number, &field.tag))
        };
        let one_tells = |one: &Template, two: &Template| {
            one.fields.iter().any(|field| match at(two, field) {
                Some(position) => field.excludes(&two.fields[position]),
                None => field.source.tells(),
            })
        };
        one_tells(self, other) || one_tells(other, self)
    }
}

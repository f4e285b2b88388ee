//! A query string, read strictly where it is used and not at all elsewhere.

use crate::error::FieldError;
use crate::json::control_character;

/// No parameter of the contract is longer.
const VALUE_LIMIT: usize = 255;

pub struct Query(Vec<(String, String)>);

impl Query {
    pub fn parse(text: Option<&str>) -> Query {
        let pairs = url::form_urlencoded::parse(text.unwrap_or_default().as_bytes());
        Query(pairs.map(|(name, value)| (name.into_owned(), value.into_owned())).collect())
    }

    /// `None` also for an empty value: that is how forms say "none".
    pub fn get(&self, name: &str) -> Option<&str> {
        self.0.iter().find(|(key, value)| key == name && !value.is_empty()).map(|(_, value)| value.as_str())
    }

    /// What is wrong with the parameters that are used; others are ignored.
    pub fn errors(&self, used: &[&str]) -> Vec<FieldError> {
        let mut errors = Vec::new();
        for name in used {
            let given = self.0.iter().filter(|(key, _)| key == name);
            if given.clone().count() > 1 {
                errors.push(FieldError::new(*name, "repeated", "Send this parameter once."));
            }
            for (_, value) in given {
                if value.chars().take(VALUE_LIMIT + 1).count() > VALUE_LIMIT {
                    errors.push(FieldError::new(*name, "too_long", "Send at most 255 characters."));
                } else if control_character(value) {
                    errors.push(FieldError::new(*name, "control_character", "Remove control characters."));
                }
            }
        }
        errors
    }
}

//! Which language a reader wants.

/// Whether `ja` stands in an `Accept-Language` with a weight above every other language's.
pub fn prefers_japanese(accepted: &str) -> bool {
    let mut best = (0, false);
    for part in accepted.split(',').take(20) {
        let mut pieces = part.split(';');
        let tag = pieces.next().unwrap_or_default().trim().to_ascii_lowercase();
        let weight = pieces.find_map(|piece| piece.trim().strip_prefix("q=")).map_or(1000, thousandths);
        if weight > best.0 {
            best = (weight, tag == "ja" || tag.starts_with("ja-"));
        }
    }
    best.1
}

/// `0.8` as 800; anything else counts as nothing.
fn thousandths(text: &str) -> u32 {
    let (whole, rest) = text.trim().split_once('.').unwrap_or((text.trim(), ""));
    let digits: String = rest.chars().chain("000".chars()).take(3).collect();
    let whole: u32 = whole.parse().unwrap_or(0);
    (whole.min(1) * 1000 + digits.parse::<u32>().unwrap_or(0)).min(1000)
}

#[cfg(test)]
mod tests {
    use super::prefers_japanese;

    #[test]
    fn the_heaviest_language_wins() {
        for yes in ["ja", "ja-JP,en;q=0.9", "en;q=0.5, JA ;q=0.6", "fr;q=bad,ja;q=0.001"] {
            assert!(prefers_japanese(yes), "{yes}");
        }
        for no in ["", "en,ja", "en-US,en;q=0.9,ja;q=0.8", "jam", "ja;q=0"] {
            assert!(!prefers_japanese(no), "{no}");
        }
    }
}

//! What the sandbox bank does with which card (contract section 12), and which it has made anew.

use crate::acquirer::{Ask, Funding, Initiator};
use crate::card::{Card, Expiry};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Behaviour {
    Approve,
    Decline(i64),
    /// Acts and never answers.
    Silence,
    /// Refuses the connection.
    Refuse,
}

/// A pure function of the card and of who asks.
pub fn behaviour(verification: bool, ask: &Ask<'_>) -> Behaviour {
    let from_vault = ask.stored_credential.is_some_and(|stored| stored.from_vault);
    let merchant_initiated = ask.stored_credential.is_some_and(|stored| stored.initiator == Initiator::Merchant);
    // A device has authenticated its owner.
    let authenticated = ask.authentication.is_some()
        || ask.device.is_some()
        || ask.stored_credential.is_some_and(|stored| stored.from_vault && stored.authenticated);
    // An account's holder has agreed in the wallet, or nothing would have been sent.
    let Funding::Card { pan, .. } = ask.funding else { return Behaviour::Approve };
    match pan.expose() {
        "4000002500003155" if authenticated => Behaviour::Approve,
        "4000008400001629" if authenticated => Behaviour::Decline(5),
        // These ask for the cardholder's authentication: without it the issuer declines softly.
        "4000002500003155" | "4000008400001629" if verification => Behaviour::Approve,
        "4000002500003155" if merchant_initiated => Behaviour::Approve,
        "4000008400001629" if merchant_initiated => Behaviour::Decline(5),
        "4000002500003155" | "4000008400001629" => Behaviour::Decline(65),
        "4000000000000002" => Behaviour::Decline(5),
        "4000000000009995" => Behaviour::Decline(51),
        "4000000000009987" => Behaviour::Decline(41),
        "4000000000009979" => Behaviour::Decline(43),
        "4000000000000069" => Behaviour::Decline(54),
        "4000000000000127" => Behaviour::Decline(580),
        "4000000000000119" => Behaviour::Decline(96),
        "4000000000000341" if from_vault => Behaviour::Decline(51),
        // Ours, for what happens later: stored like any other, and then never to be charged again, or without an answer.
        "4000000000000358" if from_vault => Behaviour::Decline(41),
        "4000000000000366" if from_vault => Behaviour::Silence,
        "4000000000000259" => Behaviour::Silence,
        "4000000000006975" => Behaviour::Refuse,
        _ => Behaviour::Approve,
    }
}

/// One of each scheme that has an account updater.
const MADE_ANEW: [&str; 2] = ["4000000000005555", "5200000000055555"];

/// The new card is good for five years more; of the others there is none.
pub fn newer(card: &Card) -> Option<Expiry> {
    let Expiry { month, year } = card.expiry;
    MADE_ANEW.contains(&card.pan.expose()).then_some(Expiry { month, year: year + 5 })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::card::Pan;

    #[test]
    fn two_cards_were_made_anew() {
        let ask = |number: &str| {
            let (pan, name) = (Pan::parse(number).unwrap(), String::new());
            newer(&Card { pan, expiry: Expiry { month: 2, year: 2024 }, name }).map(|new| (new.month, new.year))
        };
        for number in MADE_ANEW {
            assert_eq!(ask(number), Some((2, 2029)));
        }
        for number in ["4000000000001091", "5200000000001005", "378282246310005"] {
            assert_eq!(ask(number), None, "{number}");
        }
    }
}

//! What a new sandbox prints: its keys, and two lines that work when pasted.

use crate::directory::NewMerchant;
use crate::id::TokenId;

const ADDRESS: &str = r#""billing_address":{"country":"JP","email":"hanako@example.jp","phone_number":"0312345678","address1":"1-2-3 Shinjuku","city":"Shinjuku-ku","state":"Tokyo","postal_code":"1600022"}"#;

pub fn welcome(base: &str, merchant: &NewMerchant, token: TokenId) -> String {
    let api_key = merchant.api_key.as_deref().unwrap_or_default();
    let secret = merchant.secret_key.as_deref().unwrap_or_default();
    let webhook = merchant.webhook_secret.as_deref().unwrap_or_default();
    let id = &merchant.merchant_id;
    let curl = |body: String| {
        format!(
            "curl -sS {base}/api/v1/server-to-server-interface/payment -H 'x-api-key: {api_key}' \
             -H 'Authorization: Basic {secret}' -H 'Content-Type: application/json' -d '{body}'"
        )
    };
    let store = curl(format!(
        r#"{{"amount":"1000","currency":"JPY","merchant_id":"{id}","card":{{"number":"4111111111111111","expiry_month":"12","expiry_year":"2030","cvc":"123","name":"YAMADA HANAKO"}},"payment_method":{{"type":"scheme","store_payment_method":true}},{ADDRESS}}}"#
    ));
    let charge = curl(format!(
        r#"{{"amount":"1000","currency":"JPY","merchant_id":"{id}","payment_method":{{"type":"scheme","stored_payment_method_id":"{token}"}},{ADDRESS}}}"#
    ));
    format!(
        "A new sandbox. Its keys are shown this once:\n\
         \n  entity          {}\n  merchant        {id}\n  x-api-key       {api_key}\n  secret key      {secret}\n  \
         webhook secret  {webhook}\n\n\
         Pay with a card and store it (the answer's stored_payment_method_id is the token):\n\n{store}\n\n\
         Charge a stored card (this token was made for you):\n\n{charge}\n",
        merchant.entity_id
    )
}

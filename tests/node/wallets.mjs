// Opens wallets' tokens with implementations that are not ours. Reads one JSON object from standard input, with the tokens
// and keys of each; writes {"opened": …} or {"refused": …} for each, in order.
import { createRequire } from "node:module";
import path from "node:path";

const require = createRequire(path.join(process.argv[2], "index.js"));
const { ApplePaymentTokenContext } = require("@basis-theory/apple-pay-js");
const { GooglePaymentMethodTokenContext } = require("@basis-theory/google-pay-js");

let input = "";
for await (const chunk of process.stdin) input += chunk;

const results = JSON.parse(input).map(({ wallet, token, key, certificate }) => {
  try {
    const Context = wallet === "applepay" ? ApplePaymentTokenContext : GooglePaymentMethodTokenContext;
    const merchant = { identifier: "test", privateKeyPem: Buffer.from(key), certificatePem: certificate && Buffer.from(certificate) };
    return { opened: new Context({ merchants: [merchant] }).decrypt(token) };
  } catch (error) {
    return { refused: String(error.message) };
  }
});
process.stdout.write(JSON.stringify(results));

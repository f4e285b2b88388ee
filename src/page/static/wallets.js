// Google Pay and Apple Pay on the payment page, where the merchant has set them up. A wallet's token goes into our form and by
// POST to our server, as a card does: into no address and no storage.
"use strict";
(() => {
  const form = document.getElementById("payment");
  const wallets = document.getElementById("wallets");
  if (!form || !wallets) return;
  const error = document.getElementById("wallets-error");
  const failed = () => (error.textContent = wallets.dataset.failed);

  // The amount, once the page's own script says that all else is right; empty when something is to be typed first.
  const amountOf = (known) => {
    error.textContent = "";
    const detail = { amount: known, decimals: Number(wallets.dataset.decimals) };
    return form.dispatchEvent(new CustomEvent("wallet", { cancelable: true, detail })) ? detail.amount : "";
  };

  const hidden = [];
  const forget = () => hidden.splice(0).forEach((field) => field.remove());
  const send = (wallet, token) => {
    // Nobody presses twice: the second finds the page busy.
    if (!form.dispatchEvent(new CustomEvent("walletpays", { cancelable: true }))) return;
    for (const [name, value] of Object.entries({ wallet, token })) {
      const field = document.createElement("input");
      field.type = "hidden";
      field.name = name;
      field.value = value;
      hidden.push(field);
      form.append(field);
    }
    form.submit();
  };
  window.addEventListener("pagehide", forget);

  const google = (box) => {
    const { environment, request } = JSON.parse(box.dataset.google);
    const client = new window.google.payments.api.PaymentsClient({ environment });
    const pay = () => {
      const totalPrice = amountOf(request.transactionInfo.totalPrice);
      if (!totalPrice) return;
      client
        .loadPaymentData({ ...request, transactionInfo: { ...request.transactionInfo, totalPrice } })
        .then((paid) => send("googlepay", paid.paymentMethodData.tokenizationData.token))
        .catch((why) => why?.statusCode === "CANCELED" || failed());
    };
    const { apiVersion, apiVersionMinor } = request;
    const allowedPaymentMethods = request.allowedPaymentMethods.map(({ type, parameters }) => ({ type, parameters }));
    client
      .isReadyToPay({ apiVersion, apiVersionMinor, allowedPaymentMethods })
      .then(({ result }) => {
        if (!result) return;
        const buttonLocale = document.documentElement.lang;
        box.append(client.createButton({ buttonType: "pay", buttonSizeMode: "fill", buttonLocale, onClick: pay }));
        wallets.hidden = false;
      })
      // Where there is no Google Pay there is the card.
      .catch(() => {});
  };

  const apple = (button) => {
    const Session = window.ApplePaySession;
    const pay = () => {
      const request = JSON.parse(button.dataset.apple);
      request.total.amount = amountOf(request.total.amount);
      if (!request.total.amount) return;
      const session = new Session(3, request);
      session.onvalidatemerchant = async ({ validationURL }) => {
        try {
          const body = new URLSearchParams({ url: validationURL });
          const answer = await fetch(`${form.action}/apple-pay-session`, { method: "POST", body });
          if (!answer.ok) throw new Error(answer.status);
          session.completeMerchantValidation(await answer.json());
        } catch {
          session.abort();
          failed();
        }
      };
      // The sheet is done with its part; what the bank says stands on our page.
      session.onpaymentauthorized = ({ payment }) => {
        session.completePayment({ status: Session.STATUS_SUCCESS });
        send("applepay", JSON.stringify(payment.token));
      };
      session.begin();
    };
    button.addEventListener("click", pay);
    button.hidden = false;
    wallets.hidden = false;
  };

  const box = document.getElementById("google-pay");
  if (box) {
    const script = document.createElement("script");
    script.src = "https://pay.google.com/gp/p/js/pay.js";
    script.addEventListener("load", () => google(box));
    document.head.append(script);
  }
  const button = document.getElementById("apple-pay");
  try {
    const Session = window.ApplePaySession;
    if (button && Session?.supportsVersion(3) && Session.canMakePayments()) apple(button);
  } catch {
    // Safari's own way to say that this page may not.
  }
})();

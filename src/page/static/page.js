// Makes the payment form nicer: it works without this file. Nothing typed leaves the form but by sending it; nothing is stored.
"use strict";
(() => {
  const form = document.getElementById("payment");
  if (!form) return;
  // The three are missing where a wallet's own page takes the payment.
  const number = form.elements.number;
  const expiry = form.elements.expiry;
  const cvc = form.elements.cvc;
  const pay = document.getElementById("pay");
  const fields = [...form.querySelectorAll("input:not([type=hidden]), select")];

  // First digits and lengths, as the server has them.
  const schemes = [
    ["amex", /^3[47]/, [15], [4, 6, 5]],
    ["jcb", /^35(2[89]|[3-8])/, [16, 17, 18, 19], [4, 4, 4, 4, 3]],
    ["diners", /^3(0[0-5]|095|6|[89])/, [14, 15, 16, 17, 18, 19], [4, 6, 4, 5]],
    ["visa", /^4/, [13, 16, 19], [4, 4, 4, 4, 3]],
    ["mastercard", /^(5[1-5]|222[1-9]|22[3-9]|2[3-6]|27[01]|2720)/, [16], [4, 4, 4, 4]],
    ["discover", /^(6011|64[4-9]|65)/, [16, 17, 18, 19], [4, 4, 4, 4, 3]],
    ["unionpay", /^(62|81)/, [16, 17, 18, 19], [4, 4, 4, 4, 3]],
  ];
  const schemeOf = (digits) => schemes.find(([, first]) => first.test(digits));

  // Japanese keyboards write digits in full width.
  const narrow = (text) =>
    text.replace(/[\uff01-\uff5e]/g, (c) => String.fromCharCode(c.charCodeAt(0) - 0xfee0)).replace(/\u3000/g, " ");
  const digitsOf = (text) => narrow(text).replace(/\D/g, "");

  const grouped = (digits, groups) => {
    const parts = [];
    for (const size of groups) {
      if (!digits) break;
      parts.push(digits.slice(0, size));
      digits = digits.slice(size);
    }
    return parts.concat(digits || []).join(" ");
  };

  // Writes the value anew and keeps the caret behind the digit that it was behind.
  const rewrite = (field, value) => {
    if (field.value === value) return;
    const before = digitsOf(field.value.slice(0, field.selectionStart ?? field.value.length)).length;
    const atEnd = field.selectionStart === field.value.length;
    field.value = value;
    if (atEnd || document.activeElement !== field) return;
    let caret = 0;
    for (let seen = 0; seen < before && caret < value.length; caret += 1) {
      if (/\d/.test(value[caret])) seen += 1;
    }
    field.setSelectionRange(caret, caret);
  };

  const marks = [...form.querySelectorAll(".marks img")];
  const mark = document.createElement("img");
  mark.className = "mark";
  mark.id = "mark";
  mark.alt = "";
  mark.hidden = true;
  number?.after(mark);
  const spoken = document.getElementById("scheme");

  const showScheme = () => {
    const scheme = schemeOf(digitsOf(number.value));
    const drawn = scheme && marks.find((one) => one.src.includes(`/${scheme[0]}.`));
    mark.hidden = !drawn;
    number.parentElement.classList.toggle("known", Boolean(drawn));
    form.dataset.scheme = drawn ? scheme[0] : "";
    const name = drawn ? drawn.alt : "";
    if (drawn && mark.src !== drawn.src) mark.src = drawn.src;
    if (spoken.textContent !== name) spoken.textContent = name;
    cvc.maxLength = scheme && scheme[0] !== "amex" ? 3 : 4;
  };

  let composing = false;
  form.addEventListener("compositionstart", () => (composing = true));
  form.addEventListener("compositionend", (event) => {
    composing = false;
    event.target.dispatchEvent(new Event("input", { bubbles: true }));
  });

  const format = {
    number() {
      const digits = digitsOf(number.value).slice(0, 19);
      const scheme = schemeOf(digits);
      rewrite(number, grouped(digits, scheme ? scheme[3] : [4, 4, 4, 4, 3]));
      showScheme();
    },
    expiry(event) {
      const typed = narrow(expiry.value);
      let digits = digitsOf(typed).slice(0, 6);
      if (/^[2-9]$/.test(digits) || /^\d\s*\/$/.test(typed)) digits = `0${digits}`;
      const deleting = event.inputType?.startsWith("delete");
      const slash = digits.length > 2 || (digits.length === 2 && !deleting);
      rewrite(expiry, slash ? `${digits.slice(0, 2)}/${digits.slice(2)}` : digits);
    },
    cvc() {
      rewrite(cvc, digitsOf(cvc.value).slice(0, 4));
    },
  };

  const luhn = (digits) =>
    [...digits].reverse().reduce((sum, digit, at) => {
      const value = at % 2 ? digit * 2 : Number(digit);
      return sum + (value > 9 ? value - 9 : value);
    }, 0) % 10 === 0;

  const expiryWrong = () => {
    const digits = digitsOf(expiry.value);
    const month = Number(digits.slice(0, 2));
    const year = Number(digits.length === 6 ? digits.slice(2) : `20${digits.slice(2)}`);
    if (![4, 6].includes(digits.length) || month < 1 || month > 12 || year < 2000 || year > 2099) return "form";
    // Valid to the end of its month at the last place on earth.
    return Date.now() >= Date.UTC(year, month, 1, 12) ? "past" : "";
  };

  // An amount that is typed, as wallets write it: all decimals, nothing else. Empty for what is none.
  const amountOf = (text, decimals) => {
    const bare = narrow(text).replace("\uffe5", "¥").trim().replace(/^[¥$€£₩]+/, "").replace(/円$/, "").trim();
    const [, whole, fraction = ""] = /^(\d+|\d{1,3}(?:,\d{3})+)(?:\.(\d+))?$/.exec(bare) ?? [];
    if (!whole || fraction.length > decimals || !/[1-9]/.test(whole + fraction)) return "";
    const digits = whole.replaceAll(",", "").replace(/^0+(?=\d)/, "");
    return decimals ? `${digits}.${fraction.padEnd(decimals, "0")}` : digits;
  };

  // What is wrong with a field, as the name of the text that it carries.
  const wrong = (field) => {
    const value = field.value.trim();
    if (!value) return field.required ? "missing" : "";
    switch (field.name) {
      case "number": {
        const digits = digitsOf(value);
        const scheme = schemeOf(digits);
        if (digits.length < 12) return "form";
        if (!luhn(digits)) return "luhn";
        return scheme && scheme[2].includes(digits.length) ? "" : "scheme";
      }
      case "expiry":
        return expiryWrong();
      case "cvc": {
        const length = form.dataset.scheme === "amex" ? 4 : 3;
        if (!/^\d{3,4}$/.test(value)) return "form";
        if (!form.dataset.scheme || value.length === length) return "";
        return length === 4 ? "four" : "three";
      }
      case "email":
        return /^[^\s@]+@[^\s@.]+(\.[^\s@.]+)+$/.test(value) ? "" : "form";
      case "amount":
        return /^[¥$€£₩]?\d[\d,]*(\.\d+)?円?$/.test(narrow(value).replace("\uffe5", "¥").trim()) ? "" : "form";
      default:
        return "";
    }
  };

  const say = (field, text) => {
    // What is made good leaves the list above the form, and the list goes with its last entry.
    if (!text) {
      document.querySelector(`#error-summary a[href="#${field.id}"]`)?.parentElement.remove();
      const list = document.querySelector("#error-summary ul");
      if (list && !list.children.length) document.getElementById("error-summary").remove();
    }
    document.getElementById(`${field.id}-error`).textContent = text;
    if (text) field.setAttribute("aria-invalid", "true");
    else field.removeAttribute("aria-invalid");
  };
  const check = (field) => {
    const text = field.dataset[wrong(field)] || "";
    say(field, text);
    return text;
  };

  form.addEventListener("input", (event) => {
    const field = event.target;
    if (!composing && format[field.name]) format[field.name](event);
    // A mistake that is made good is forgiven at once; a new one is told when the field is left.
    if (field.getAttribute("aria-invalid") && !wrong(field)) say(field, "");
  });
  // A field that was left untouched is told when the form is sent.
  form.addEventListener("focusout", (event) => {
    const field = event.target;
    if (fields.includes(field) && field.value) check(field);
    if (number && field === number && cvc.value) check(cvc);
  });

  const summarise = (mistakes) => {
    let box = document.getElementById("error-summary");
    if (!box) {
      box = document.createElement("div");
      box.id = "error-summary";
      box.tabIndex = -1;
      box.setAttribute("role", "alert");
      document.querySelector("main").prepend(box);
    }
    const heading = document.createElement("h2");
    heading.textContent = form.dataset.summary;
    const list = document.createElement("ul");
    for (const [field, text] of mistakes) {
      const link = document.createElement("a");
      link.href = `#${field.id}`;
      link.textContent = text;
      link.addEventListener("click", (event) => {
        event.preventDefault();
        field.focus();
      });
      const item = document.createElement("li");
      item.append(link);
      list.append(item);
    }
    box.replaceChildren(heading, list);
    box.focus();
  };

  let sent = false;
  const cancelling = document.getElementById("cancelling");
  const once = (event, busy) => {
    if (sent) {
      event.preventDefault();
      return;
    }
    sent = true;
    document.body.setAttribute("aria-busy", "true");
    busy();
  };
  const busy = () => {
    const spinner = document.createElement("span");
    spinner.className = "spinner";
    spinner.setAttribute("aria-hidden", "true");
    pay.setAttribute("aria-disabled", "true");
    pay.replaceChildren(spinner, pay.dataset.busy);
    pay.setAttribute("aria-live", "polite");
  };
  form.noValidate = true;
  form.addEventListener("submit", (event) => {
    const mistakes = fields.map((field) => [field, check(field)]).filter(([, text]) => text);
    if (mistakes.length && !sent) {
      event.preventDefault();
      summarise(mistakes);
      return;
    }
    once(event, busy);
  });
  // A wallet's button takes the card's place: all else must be right before its sheet opens.
  form.addEventListener("wallet", (event) => {
    const asked = fields.filter((field) => !field.closest("#card"));
    const mistakes = asked.map((field) => [field, check(field)]).filter(([, text]) => text);
    const { amount } = form.elements;
    if (amount && !mistakes.length) {
      event.detail.amount = amountOf(amount.value, event.detail.decimals);
      if (!event.detail.amount) {
        say(amount, amount.dataset.form);
        mistakes.push([amount, amount.dataset.form]);
      }
    }
    if (sent || mistakes.length) event.preventDefault();
    if (mistakes.length && !sent) summarise(mistakes);
  });
  form.addEventListener("walletpays", (event) =>
    once(event, () => {
      number.value = "";
      cvc.value = "";
      busy();
    }),
  );
  cancelling.addEventListener("submit", (event) => once(event, () => {}));

  // Browsers keep what stands in a form for the way back: no card is to be there.
  window.addEventListener("pagehide", () => {
    if (!number) return;
    number.value = "";
    cvc.value = "";
  });
  // A page that comes back from the browser's memory asks again what is true now.
  window.addEventListener("pageshow", (event) => {
    if (event.persisted) window.location.replace(form.action);
  });
  // The answer to a form is shown under the page's own address: to load it again does not send the card again.
  window.history.replaceState(null, "", form.action);

  if (number?.value) format.number();
  if (number) showScheme();
  document.getElementById("error-summary")?.focus();
})();

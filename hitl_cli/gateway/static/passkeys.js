"use strict";
/*
 * Passkeys: signs the decision of a form, and makes a new passkey. Loaded only by pages that can do either.
 *
 * data-sign=ORIGIN    on a form or within it: it is signed, and passkeys work at this origin only.
 * data-create=OPTIONS on a form: makes a passkey, and sends what the browser made.
 * data-with-passkey   on what needs a browser with passkeys; shown only there.
 * data-without-passkeys  on what is said to a browser without; it is shown where this script does not run, too.
 * data-elsewhere      on what says where passkeys work; shown at another origin.
 */
(() => {
  const $ = (what, where = document) => where.querySelector(what);
  const place = $("[data-sign]");
  const here = place && window.PublicKeyCredential && location.origin === place.dataset.sign;

  const decoded = (text) => Uint8Array.from(atob(text.replace(/-/g, "+").replace(/_/g, "/")), (one) => one.charCodeAt(0));
  const encoded = (buffer) => btoa(Array.from(new Uint8Array(buffer), (one) => String.fromCharCode(one)).join(""))
    .replace(/\+/g, "-").replace(/\//g, "_").replace(/=/g, "");

  const keys = (list) => list.map((one) => ({ ...one, id: decoded(one.id) }));

  const say = (form, text) => {
    let told = $("[data-told]", form);
    if (!told) {
      told = Object.assign(document.createElement("p"), { className: "notice warn told" });
      told.dataset.told = "";
      told.append(document.createElement("span"));
      form.append(told);
    }
    told.firstChild.textContent = text;
    const announce = $("#announce");
    announce.textContent = "";
    setTimeout(() => { announce.textContent = text; }, 50);
  };

  const ANSWER_MS = 20000; // how long the gateway may take to answer
  const WHY = {
    TimeoutError: "The gateway did not answer.",
    NotAllowedError: "You did not confirm it, or this device has none of your passkeys.",
    InvalidStateError: "This device already has a passkey of yours.",
  };

  /* Send a form with one more field, as if its button had been pressed. */
  const send = (form, button, name, value) => {
    if (name) form.append(Object.assign(document.createElement("input"), { type: "hidden", name, value }));
    form.dataset.passed = "1";
    form.requestSubmit(button);
  };

  /* The assertion for a form as it is now; null if the server wants to say something first. */
  const signed = async (form, button) => {
    const body = new URLSearchParams(new FormData(form));
    body.set(button.name, button.value);
    body.set("statement", "1");
    const answer = await fetch(form.getAttribute("action"), {
      method: "POST", body, headers: { Accept: "application/json" }, signal: AbortSignal.timeout(ANSWER_MS),
    });
    if (!answer.ok || !(answer.headers.get("Content-Type") || "").startsWith("application/json")) return null;
    const { proof, options } = await answer.json();
    const { id, response } = await navigator.credentials.get({
      publicKey: { ...options, challenge: decoded(options.challenge), allowCredentials: keys(options.allowCredentials) },
    });
    return {
      ...proof, credential: id, authenticatorData: encoded(response.authenticatorData),
      clientDataJSON: encoded(response.clientDataJSON), signature: encoded(response.signature),
    };
  };

  const made = async (options) => {
    const { id, type, response } = await navigator.credentials.create({
      publicKey: {
        ...options, challenge: decoded(options.challenge), excludeCredentials: keys(options.excludeCredentials),
        user: { ...options.user, id: decoded(options.user.id) },
      },
    });
    return {
      id, rawId: id, type,
      response: { clientDataJSON: encoded(response.clientDataJSON), attestationObject: encoded(response.attestationObject) },
    };
  };

  let busy = false;
  document.addEventListener("submit", async (event) => {
    const form = event.target, button = event.submitter, create = form.dataset.create;
    const chosen = create || (form.hasAttribute("data-answer") && new FormData(form).get("sign"));
    if (!here || !chosen || !button || button.name === "rows" || form.dataset.passed) return;
    event.preventDefault();
    event.stopImmediatePropagation();
    if (busy) return;
    busy = true;
    try {
      if (create) {
        send(form, button, "credential", JSON.stringify(await made(JSON.parse(create))));
      } else {
        const proof = await signed(form, button);
        send(form, button, proof ? "proof" : "", JSON.stringify(proof));
      }
    } catch (error) {
      say(form, `${create ? "No passkey was made" : "Not signed, and nothing was changed"}. ${WHY[error.name] || error.message} Press the button to try again.`);
    }
    busy = false;
  }, true);

  addEventListener("pageshow", (event) => { if (event.persisted) location.reload(); }); // what was signed is sent

  for (const one of document.querySelectorAll("[data-with-passkey]")) {
    one.hidden = !here;
    for (const box of one.querySelectorAll('input[type="checkbox"]')) box.checked = here;
  }
  for (const one of document.querySelectorAll("[data-without-passkeys]")) one.hidden = Boolean(window.PublicKeyCredential);
  for (const one of document.querySelectorAll("[data-elsewhere]")) one.hidden = here || !window.PublicKeyCredential;

  const copy = $("[data-copy]");
  if (copy && navigator.clipboard) {
    copy.hidden = false;
    copy.addEventListener("click", async () => {
      await navigator.clipboard.writeText($(copy.dataset.copy).textContent);
      copy.textContent = "Copied";
      $("#announce").textContent = "Copied";
    });
  }
})();

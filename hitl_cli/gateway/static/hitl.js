"use strict";
/*
 * Updates pages live, filters lists while the user types, and announces changes. Every page works without it.
 *
 * There is no library: all it needs is to fetch a page again and replace parts of it, which is one function below.
 * htmx could do that too, but is some 50 kB, mostly for things that are not needed. A test limits this file to 30 kB.
 *
 * data-live=NAME on an element: its content is replaced by that of the same element in the fetched page.
 * data-events=URL on the body: the event stream that reports changes. Without it the page polls.
 * data-kept on a form: it carries what was typed until the user has signed in; this browser stores it as well.
 * data-hold on a field: asks the gateway to hold the decision, so that it can be undone. data-undo=INSTANT on its form.
 * data-key on a link, button or summary: what a key does, as in `hitl review`.
 * data-filter on a form: applied while the user types. data-answer on a form: disabled once the request is decided.
 */
(() => {
  const TYPING_MS = 250;  // after the last key, before a filter is applied
  const BURST_MS = 150;   // changes within this time cause one update
  const OFTEN_MS = 1000;  // and if changes go on, so do updates, this often
  const LOOK_MS = 20000;  // how often a page without an event stream polls
  const ANSWER_MS = 20000; // how long the gateway may take to answer
  const TIMES_MS = 15000; // how often ages are updated
  const RUN_MS = [1000, 2000, 4000, 8000, 15000]; // after a decision, when a page checks the state of the run

  const $ = (what, where = document) => where.querySelector(what);
  const $$ = (what, where = document) => [...where.querySelectorAll(what)];
  const ahead = Number(document.body.dataset.now) - Date.now(); // the server's clock minus this one

  const announce = (text) => {
    const place = $("#announce");
    if (!place) return;
    place.textContent = "";
    setTimeout(() => { place.textContent = text; }, 50); // so that a screen reader repeats the same text
  };

  /* Times */

  /* In the browser's locale and time zone; the server writes UTC. */
  const CLOCK = {
    year: "numeric", month: "short", day: "numeric", hour: "numeric", minute: "2-digit", timeZoneName: "short",
  };

  const clock = (instant) => new Date(instant).toLocaleString(undefined, CLOCK);

  const UNITS = [["d", 86400], ["h", 3600], ["m", 60], ["s", 1]];

  const duration = (ms) => {
    let rest = Math.max(Math.floor(ms / 1000), 0);
    const parts = [];
    for (const [unit, size] of UNITS) {
      const count = Math.floor(rest / size);
      rest %= size;
      if (count) parts.push(count + unit);
      if (parts.length === 2 || (parts.length && !count)) break;
    }
    return parts.join(" ") || "0s";
  };

  const tellTimes = () => {
    const now = Date.now() + ahead;
    for (const time of $$("time[data-ago]")) time.textContent = `${duration(now - Date.parse(time.dateTime))} ago`;
    for (const time of $$("time[data-left]")) {
      const left = Date.parse(time.dateTime) - now;
      time.textContent = left > 0 ? `in ${duration(left)}` : "passed";
    }
    for (const time of $$("time[data-at]")) time.textContent = clock(time.dateTime);
    for (const time of $$("time[title]")) { // the instant in UTC, and of an age the reader's time, too
      const utc = `${time.dateTime.slice(0, 19).replace("T", " ")} UTC`;
      time.title = time.matches("[data-at]") ? utc : `${clock(time.dateTime)} (${utc})`;
    }
    for (const time of $$("time[data-day]")) time.textContent = new Date(time.dateTime).toLocaleDateString(undefined, { timeZone: "UTC", dateStyle: "medium" });
  };

  /* What was typed when a session expired
   *
   * This browser stores it, without secrets, until the same person opens its page again, in any tab, by signing in or
   * with a new link. Then it is sent to that page, which only fills in its form.
   */
  const KEPT = "hitl-kept:", KEPT_MS = 3600000, NOT_KEPT = ["csrf", "next", "who", "token", "kept", "secret"];

  const keep = (form) => {
    const data = new FormData(form), secrets = data.getAll("secret");
    const said = [...data].filter(([name]) => !NOT_KEPT.includes(name) && !secrets.includes(name));
    try { localStorage.setItem(KEPT + data.get("kept"), JSON.stringify({ at: Date.now(), said })); } catch { /* storage is full or disabled */ }
  };

  const refill = () => {
    const marked = $('form input[name="kept"]');
    let found = null;
    try {
      for (const key of Object.keys(localStorage).filter((one) => one.startsWith(KEPT))) {
        const one = JSON.parse(localStorage.getItem(key)), own = marked && key === KEPT + marked.value;
        if (own) found = one;
        if (own || Date.now() - one.at > KEPT_MS) localStorage.removeItem(key);
      }
    } catch { return; }
    if (!found || Date.now() - found.at > KEPT_MS || $("[data-code]")) return; // the last: the form is filled in already
    const form = Object.assign(document.createElement("form"), { method: "post", action: marked.form.action });
    for (const [name, value] of [...found.said, ["kept", marked.value]]) {
      form.append(Object.assign(document.createElement("input"), { type: "hidden", name, value }));
    }
    document.body.append(form);
    form.submit();
  };

  if ($("form[data-kept]")) keep($("form[data-kept]"));
  else refill();

  const touched = new Set();
  document.addEventListener("input", (event) => { if (event.target.form) touched.add(event.target.form); });

  /* Keep what was typed, if anything was, and stay on the page. Returns whether that was so. */
  const keepTyped = () => {
    const form = [...touched].find((one) => $('input[name="kept"]', one));
    if (!form) return false;
    keep(form);
    if (!form.dataset.ended) {
      form.dataset.ended = "1";
      say(form, "Your session has expired. Press a button to sign in. What you typed is kept.");
    }
    return true;
  };

  /* Tell something at the end of a form: no button moves from under a pointer that is about to press it. */
  const say = (form, text) => {
    const told = document.createElement("p");
    told.className = "notice warn told";
    told.append(Object.assign(document.createElement("span"), { textContent: text }));
    form.append(told);
    announce(text);
  };

  /* Updating the page */

  let asked = 0, picked = () => {};

  /* Fetch a page and replace the live parts of this one with its. Returns it, or null if that failed. */
  const renew = async (address) => {
    const turn = ++asked;
    let answer, page;
    try {
      answer = await fetch(address, { headers: { Accept: "text/html" }, signal: AbortSignal.timeout(ANSWER_MS) });
      page = new DOMParser().parseFromString(await answer.text(), "text/html");
    } catch (error) {
      again ||= error.name === "TimeoutError";
      return null; // the server is unreachable, or does not answer
    }
    if (turn !== asked) return null; // a newer fetch has started
    if ($("[data-sign-in]", page)) return keepTyped() || location.reload(), null;
    if (answer.status >= 500 || answer.status === 429) return null;
    for (const old of $$("[data-live]")) {
      const now = $(`[data-live="${CSS.escape(old.dataset.live)}"]`, page);
      if (now && !isOver(old, now)) take(old, now);
    }
    tellTimes();
    tellUndo();
    picked();
    end(page);
    return page;
  };

  /* Whether what an element tells of the last decisions is told once only, by a page that one went to. */
  const isOver = (old, now) => old.id === "held" && !now.childElementCount && !$("[data-undo]", old);

  /* The HTML of an element, without what this script changes in it. */
  const source = (element) => {
    const copy = element.cloneNode(true);
    for (const time of $$("time", copy)) time.textContent = time.title = "";
    for (const item of [copy, ...$$(".fresh", copy)]) item.classList.remove("fresh");
    for (const one of $$("[data-undo] span", copy)) one.remove();
    return copy.innerHTML;
  };

  /* Replace the content of one element with that of another if it differs, and keep the keyboard focus. */
  const take = (old, now) => {
    const [items, wanted] = [old, now].map((one) => $("ol[data-items]", one));
    if (items && wanted) return patch(items, wanted);
    if (source(old) === source(now)) return;
    const focused = old.contains(document.activeElement) && document.activeElement;
    old.replaceChildren(...now.childNodes);
    if (!focused) return;
    const href = focused.getAttribute("href");
    ((href && $(`a[href="${CSS.escape(href)}"]`, old)) || $("#main")).focus({ preventScroll: true });
  };

  /* Make the items of one list those of another: what has not changed stays in place, with its tick and the focus. */
  const patch = (list, wanted) => {
    const fresh = new Map([...wanted.children].map((item) => [item.dataset.id, item]));
    const focused = [...list.children].find((item) => item.contains(document.activeElement));
    const after = focused && [...list.children].slice([...list.children].indexOf(focused)).find((item) => fresh.has(item.dataset.id));
    for (const item of [...list.children]) {
      const now = fresh.get(item.dataset.id);
      if (!now) item.remove();
      else if (source(item) === source(now)) fresh.set(item.dataset.id, item);
      else {
        if ($("input:checked", item)) $("input", now).checked = true;
        item.replaceWith(now);
      }
    }
    let place = list.firstElementChild;
    for (const item of fresh.values()) {
      if (item === place) place = place.nextElementSibling;
      else list.insertBefore(item, place);
    }
    if (focused && !list.contains(document.activeElement)) {
      const again = after ? fresh.get(after.dataset.id) : list.lastElementChild;
      ((again && $("a", again)) || $("#main")).focus({ preventScroll: true });
    }
  };

  const ids = (list) => new Set($$("[data-id]", list).map((item) => item.dataset.id));

  /* Disable the form of a request once the fetched page has none. What was typed stays readable. */
  const end = (page) => {
    const form = $("form[data-answer]");
    if (!form || form.dataset.over || $("form[data-answer]", page)) return;
    form.dataset.over = "1";
    for (const control of $$("button, input, select, textarea", form)) {
      const text = control.matches('textarea, input:not([type="radio"], [type="checkbox"])');
      control[text ? "readOnly" : "disabled"] = true;
    }
    for (const closed of $$("details:not([open])", form)) closed.hidden = true;
    // The outcome was moved from `page` into this page.
    const gone = $('[data-code="not-found"]', page) ? "This request is no longer for you, or was deleted" : "";
    const why = gone || ($("#outcome") || $("#why-not", page) || $("main p", page) || {}).textContent || "This request was decided";
    if ($('[data-code="link-expired"]', page) && touched.has(form)) keep(form);
    say(form, `${why.trim().replace(/\.$/, "")}. You can no longer answer here.`);
  };

  const counted = (count, noun) => `${count} ${noun}${count === 1 ? "" : "s"}`;

  /* Update the page, and announce new requests in its list. */
  const look = async () => {
    const list = $('[data-live="list"]');
    const before = list ? ids(list) : null;
    const page = await renew(location.href);
    if (!page || !list) return;
    const fresh = $$("[data-id]", list).filter((item) => !before.has(item.dataset.id));
    for (const item of fresh) item.classList.add("fresh");
    if (fresh.length) announce(counted(fresh.length, "new request"));
  };

  let soon = 0, again = false, looked = 0;
  const lookSoon = () => {
    if (soon) { again = true; return; }
    soon = setTimeout(async () => {
      again = false;
      await look();
      [soon, looked] = [0, Date.now()];
      if (again) lookSoon();
    }, Date.now() - looked < OFTEN_MS ? OFTEN_MS : BURST_MS);
  };

  /* The event stream */

  const request = $("[data-request]");
  let stream = null, looking = 0;

  const concerns = (event) => {
    if (!request || !event.data) return true;
    const { id, workflow } = JSON.parse(event.data);
    return !id || id === request.dataset.request || workflow === request.dataset.run;
  };

  const listen = () => {
    const where = document.body.dataset.events;
    if (!where) {
      looking = setInterval(look, LOOK_MS);
      return;
    }
    stream = new EventSource(where);
    stream.addEventListener("error", () => { // refused, as for an expired link: the browser does not reconnect
      if (stream.readyState === EventSource.CLOSED && !looking) { lookSoon(); looking = setInterval(look, LOOK_MS); }
    });
    for (const name of ["ready", "look", "request.asked", "request.changed", "request.decided"]) {
      stream.addEventListener(name, (event) => { if (concerns(event)) lookSoon(); });
    }
  };

  /* Listen only while the page is visible, because browsers open few connections to one host. */
  const attend = () => {
    if (stream) stream.close();
    clearInterval(looking);
    stream = null;
    looking = 0;
    if (document.hidden) return;
    listen();
  };

  tellTimes();
  if ($("[data-live]")) {
    document.addEventListener("visibilitychange", () => { attend(); if (!document.hidden) look(); });
    addEventListener("pagehide", () => { if (stream) stream.close(); });
    addEventListener("pageshow", (event) => { if (event.persisted) { attend(); look(); } });
    attend();
    setInterval(tellTimes, TIMES_MS);
  }
  if ($("[data-goes-on]")) for (const ms of RUN_MS) setTimeout(() => { if ($("[data-goes-on]")) look(); }, ms);

  /* Filters */

  const filter = $("form[data-filter]");
  if (filter) {
    let typing = 0;
    for (const button of $$("[data-by-hand]", filter)) button.hidden = true;
    if (matchMedia("(min-width: 40.01rem)").matches) for (const fold of $$("details.find")) fold.open = true;

    const apply = async () => {
      const said = [...new FormData(filter)].filter(([name, value]) => value && !(name === "sort" && value === "age"));
      const query = new URLSearchParams(said).toString();
      const address = filter.getAttribute("action") + (query ? `?${query}` : "");
      history.replaceState(null, "", address);
      if (await renew(address)) announce(`${$("#total")?.textContent || "No requests"} found`);
    };

    filter.addEventListener("input", () => { clearTimeout(typing); typing = setTimeout(apply, TYPING_MS); });
    filter.addEventListener("submit", (event) => { event.preventDefault(); clearTimeout(typing); apply(); });
  }

  /* Rows of a form: it is sent to add or remove one, and only its fields are replaced. */
  document.addEventListener("submit", async (event) => {
    const form = event.target, { name, value } = event.submitter || {};
    if (name !== "rows") return;
    event.preventDefault();
    event.stopImmediatePropagation();
    const said = new URLSearchParams(new FormData(form));
    said.set(name, value);
    let now = null;
    try {
      const answer = await fetch(form.getAttribute("action"), { method: "POST", body: said, signal: AbortSignal.timeout(ANSWER_MS) });
      now = $("#form", new DOMParser().parseFromString(await answer.text(), "text/html"));
    } catch { /* sent by the browser, below, which shows the error */ }
    if (now) {
      for (const old of $$('input[type="password"]', form)) { // pages never contain secrets
        const kept = $$('input[type="password"]', now).find((one) => one.name === old.name);
        if (kept) kept.value = old.value;
      }
      $("#form").replaceWith(now);
      ($("[autofocus]", now) || now).focus();
    } else {
      form.append(Object.assign(document.createElement("input"), { type: "hidden", name, value }));
      form.submit();
    }
  }, true);

  /* Send a form only once, even if its button is pressed repeatedly. */
  for (const form of $$('form[method="post"]')) {
    form.addEventListener("submit", (event) => {
      if (form.dataset.sent) event.preventDefault();
      form.dataset.sent = "1";
      addEventListener("pageshow", () => { delete form.dataset.sent; }, { once: true });
    });
  }

  /* Undo: the gateway holds a decision for some seconds, on a form that asks for it. */
  const SETTLED_MS = 1500; // after that, it is made
  const GRACE_MS = 700; // a second press on a page that came by itself was meant for the page before

  for (const one of $$("[data-hold]")) one.disabled = false;

  let undoing = 0;
  const tellUndo = () => {
    clearTimeout(undoing);
    const form = $("[data-undo]");
    if (!form) return;
    const left = Number(form.dataset.undo) - Date.now() - ahead;
    const shown = $("span", form) || form.appendChild(Object.assign(document.createElement("span"), { className: "muted" }));
    shown.ariaHidden = "true";
    shown.textContent = ` ${Math.ceil(left / 1000)} s`;
    if (left > 0) undoing = setTimeout(tellUndo, Math.min(left, 1000));
    else {
      if (form.contains(document.activeElement)) $("#main").focus({ preventScroll: true });
      form.remove();
      setTimeout(look, SETTLED_MS);
    }
  };

  tellUndo();
  for (const one of $$('main [role="status"]')) announce(one.textContent.trim());
  const held = $('[data-held="held"]');
  if (held) {
    announce(`${$("p", held).textContent.trim()}. You can undo it for 5 seconds. ${$("#waiting")?.textContent || $("#total")?.textContent || ""}`);
    const began = Date.now();
    document.addEventListener("submit", (event) => {
      if (event.target.matches("[data-answer]") && Date.now() - began < GRACE_MS) { event.preventDefault(); event.stopImmediatePropagation(); }
    }, true);
  }

  /* Many at once: the form is shown once something is selected. */
  const many = $("#many");
  if (many) {
    const all = $("[data-all]", many), picks = () => $$('.pick input[type="checkbox"]');
    all.hidden = false;
    const pick = () => {
      const chosen = picks().filter((one) => one.checked).length, every = $('[name="every"]', many)?.checked;
      many.hidden = !chosen && !every;
      $("[data-picked]", many).textContent = every ? "All requests selected" : `${counted(chosen, "request")} selected`;
      $("input", all).checked = chosen === picks().length;
    };
    document.addEventListener("change", ({ target }) => {
      const every = $('[name="every"]', many);
      if (target === $("input", all) || target === every) for (const one of picks()) one.checked = target.checked;
      if (every && target !== every && !target.checked && target.closest(".pick, [data-all]")) every.checked = false;
      if (target.closest(".pick, .many")) pick();
    });
    addEventListener("pageshow", pick);
    picked = pick;
    pick();
  }

  /* Keys, as in `hitl review`. They can be turned off, and never act in a text field. */
  const OFF = "hitl-keys-off", help = $("#keys");
  const storage = (work) => { try { return work(localStorage); } catch { return null; } };
  const TYPED = 'textarea, select, [contenteditable], input:not([type="checkbox"], [type="radio"])';

  const move = (step) => {
    const links = $$("[data-items] h2 a");
    const at = links.findIndex((link) => link.closest("li").contains(document.activeElement));
    const link = links[at < 0 ? 0 : Math.min(Math.max(at + step, 0), links.length - 1)];
    if (link) { link.focus(); link.closest("li").scrollIntoView({ block: "nearest" }); }
  };

  const press = (key) => {
    const target = $$(`[data-key="${CSS.escape(key)}"]`).find((one) => one.offsetParent && !one.disabled);
    if (!target) return false;
    const fold = target.closest("summary")?.parentElement || (target.matches("summary") ? target.parentElement : null);
    if (fold) { fold.open = true; ($("textarea, input:not([type=hidden])", fold) || target).focus(); }
    else if (target.matches("input[type=search]")) { target.focus(); target.select(); }
    else { target.focus(); target.click(); }
    return true;
  };

  const ACTS = {
    j: () => ($("[data-items]") ? move(1) : scrollBy(0, 80)), k: () => ($("[data-items]") ? move(-1) : scrollBy(0, -80)),
    x: () => $('input[type="checkbox"]', document.activeElement.closest?.("[data-items] > li") || document.createElement("i"))?.click(),
    "?": () => (help.open ? help.close() : help.showModal()),
  };

  if (help) {
    const switched = $("[data-keys-on]", help);
    switched.checked = !storage((kept) => kept.getItem(OFF));
    switched.addEventListener("change", () => storage((kept) => (switched.checked ? kept.removeItem(OFF) : kept.setItem(OFF, "1"))));
    for (const button of $$("[data-keys]")) { button.hidden = false; button.addEventListener("click", () => help.showModal()); }
    document.addEventListener("keydown", (event) => {
      if (event.defaultPrevented || event.isComposing || event.repeat && !"jk".includes(event.key)) return;
      if (event.ctrlKey || event.metaKey || event.altKey || event.target.closest?.(TYPED)) return;
      if (!switched.checked || help.open && event.key !== "?") return;
      if (ACTS[event.key]) ACTS[event.key]();
      else if (!press(event.key)) return;
      event.preventDefault();
    });
  }
})();

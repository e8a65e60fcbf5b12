"use strict";
/*
 * What the pages do besides: they keep themselves up to date, filter as one types, and say what changed.
 * Everything works without this.
 *
 * No library: what is needed is to get a page again and put parts of it in the place of the old ones, and that is
 * one function below. htmx would do it too, and is some 50 kB, most of it for what is not done here. A test holds
 * this file to 30 kB.
 *
 * data-live=NAME on an element: its content is replaced by that of the same element of the page as it is now.
 * data-events=URL on the body: where the server tells that something changed. Without it the page looks itself.
 * data-kept on a form: what was typed waits in it until somebody has signed in, and in this browser for its page.
 * data-filter on a form: what it asks for is shown as one types. data-answer on a form: it ends once it is decided.
 */
(() => {
  const TYPING_MS = 250;  // after the last key, before a filter is applied
  const BURST_MS = 150;   // changes that come together are looked at together
  const LOOK_MS = 20000;  // how often a page looks that is not told
  const TIMES_MS = 15000; // how often ages are written anew
  const RUN_MS = [1000, 2000, 4000, 8000, 15000]; // when a page looks what becomes of the run, after a decision

  const $ = (what, where = document) => where.querySelector(what);
  const $$ = (what, where = document) => [...where.querySelectorAll(what)];
  const ahead = Number(document.body.dataset.now) - Date.now(); // the server's clock, seen from this one

  const announce = (text) => {
    const place = $("#announce");
    if (!place) return;
    place.textContent = "";
    setTimeout(() => { place.textContent = text; }, 50); // so that the same text is read again
  };

  /* Times */

  /* As the reader's browser writes it, in the zone of the clock on their wall; the server writes UTC. */
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
    for (const time of $$("time[data-day]")) time.textContent = new Date(time.dateTime).toLocaleDateString(undefined, { timeZone: "UTC", dateStyle: "medium" });
    for (const time of $$("time[title]")) time.title = clock(time.dateTime);
  };

  /* What was typed when a session ended
   *
   * It is kept in this browser, without secrets, until its page is opened again for the same person, by signing in or
   * by a new link in whatever tab: then it is sent to that page, which fills it in and does nothing else.
   */
  const KEPT = "hitl-kept:", KEPT_MS = 3600000, NOT_KEPT = ["csrf", "next", "who", "token", "kept", "secret"];

  const keep = (form) => {
    const data = new FormData(form), secrets = data.getAll("secret");
    const said = [...data].filter(([name]) => !NOT_KEPT.includes(name) && !secrets.includes(name));
    try { localStorage.setItem(KEPT + data.get("kept"), JSON.stringify({ at: Date.now(), said })); } catch { /* full, or forbidden */ }
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
    if (!found || Date.now() - found.at > KEPT_MS || $("[data-code]")) return; // or it is there already
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

  /* Whether a form was filled in that a session ended for: then that is kept, and the page stays. */
  const keepTyped = () => {
    const form = [...touched].find((one) => $('input[name="kept"]', one));
    if (!form) return false;
    keep(form);
    if (!form.dataset.ended) {
      form.dataset.ended = "1";
      say(form, "Your session has ended. Press a button to sign in; what you have written is kept.");
    }
    return true;
  };

  const say = (form, text) => {
    const told = document.createElement("p");
    told.className = "notice warn";
    told.append(Object.assign(document.createElement("span"), { textContent: text }));
    ($(".buttons", form) || $("button", form)).before(told);
    announce(text);
  };

  /* The page as it is now */

  let asked = 0;

  /* Get the page at an address, and take over its live parts. Returns it; null if it could not be had. */
  const renew = async (address) => {
    const turn = ++asked;
    let answer, page;
    try {
      answer = await fetch(address, { headers: { Accept: "text/html" } });
      page = new DOMParser().parseFromString(await answer.text(), "text/html");
    } catch {
      return null; // away, for now
    }
    if (turn !== asked) return null; // something newer was asked for meanwhile
    if ($("[data-sign-in]", page)) return keepTyped() || location.reload(), null;
    if (answer.status >= 500 || answer.status === 429) return null;
    for (const old of $$("[data-live]")) {
      const now = $(`[data-live="${CSS.escape(old.dataset.live)}"]`, page);
      if (now) take(old, now);
    }
    tellTimes();
    end(page);
    return page;
  };

  /* Put the content of one element into another, without losing where the keyboard is. */
  const take = (old, now) => {
    const focused = old.contains(document.activeElement) && document.activeElement.getAttribute("href");
    old.replaceChildren(...now.childNodes);
    if (focused) ($(`a[href="${CSS.escape(focused)}"]`, old) || $("#main")).focus({ preventScroll: true });
  };

  const ids = (list) => new Set($$("[data-id]", list).map((item) => item.dataset.id));

  /* The form of a request ends once the page as it is now has none. What was typed stays to be read. */
  const end = (page) => {
    const form = $("form[data-answer]");
    if (!form || form.dataset.over || $("form[data-answer]", page)) return;
    form.dataset.over = "1";
    for (const control of $$("button, input, select, textarea", form)) {
      const text = control.matches('textarea, input:not([type="radio"], [type="checkbox"])');
      control[text ? "readOnly" : "disabled"] = true;
    }
    for (const closed of $$("details:not([open])", form)) closed.hidden = true;
    // What came of it was taken over, and so is not in `page` any more.
    const why = ($("#outcome") || $("#why-not", page) || $("main p", page) || {}).textContent || "It was decided";
    if ($('[data-code="link-expired"]', page) && touched.has(form)) keep(form);
    say(form, `${why.trim().replace(/\.$/, "")}. It can no longer be answered here.`);
  };

  const counted = (count, noun) => `${count} ${noun}${count === 1 ? "" : "s"}`;

  /* Look again, and say what is new in a list. */
  const look = async () => {
    const list = $('[data-live="list"]');
    const before = list ? ids(list) : null;
    const page = await renew(location.href);
    if (!page || !list) return;
    const fresh = $$("[data-id]", list).filter((item) => !before.has(item.dataset.id));
    for (const item of fresh) item.classList.add("fresh");
    if (fresh.length) announce(counted(fresh.length, "new request"));
  };

  let soon = 0;
  const lookSoon = () => { clearTimeout(soon); soon = setTimeout(look, BURST_MS); };

  /* What the server tells */

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
    stream.addEventListener("error", () => { // refused, as a link that has ended is: it does not come back by itself
      if (stream.readyState === EventSource.CLOSED && !looking) { lookSoon(); looking = setInterval(look, LOOK_MS); }
    });
    for (const name of ["ready", "look", "request.asked", "request.changed", "request.decided"]) {
      stream.addEventListener(name, (event) => { if (concerns(event)) lookSoon(); });
    }
  };

  /* A page in the background is told nothing: browsers open few connections to one host. It looks when it is back. */
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
      if (await renew(address)) announce(`${$("#total")?.textContent || "No request"} found`);
    };

    filter.addEventListener("input", () => { clearTimeout(typing); typing = setTimeout(apply, TYPING_MS); });
    filter.addEventListener("submit", (event) => { event.preventDefault(); clearTimeout(typing); apply(); });
  }

  /* Rows of a form: it is sent for one more or less, and only its fields are taken from what comes back. */
  document.addEventListener("submit", async (event) => {
    const form = event.target, { name, value } = event.submitter || {};
    if (name !== "rows") return;
    event.preventDefault();
    event.stopImmediatePropagation();
    const said = new URLSearchParams(new FormData(form));
    said.set(name, value);
    let now = null;
    try {
      const answer = await fetch(form.getAttribute("action"), { method: "POST", body: said });
      now = $("#form", new DOMParser().parseFromString(await answer.text(), "text/html"));
    } catch { /* the browser says so, below */ }
    if (now) {
      for (const old of $$('input[type="password"]', form)) { // no page has it in it
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

  /* A form is sent once, however often its button is pressed. */
  for (const form of $$('form[method="post"]')) {
    form.addEventListener("submit", (event) => {
      if (form.dataset.sent) event.preventDefault();
      form.dataset.sent = "1";
      addEventListener("pageshow", () => { delete form.dataset.sent; }, { once: true });
    });
  }
})();

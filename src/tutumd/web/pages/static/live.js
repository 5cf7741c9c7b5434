"use strict";
// Parts that refresh themselves: elements with hx-trigger="refresh" and an id. Each is asked for again every
// `data-refresh` seconds, or as a `data-every` inside of it says, else every 15. Never in a hidden tab, less often while
// requests fail, and with the ETag of the last answer, so that what has not changed is not sent.
(() => {
  const PARTS = '[hx-trigger="refresh"][id]', IDLE_S = 15, SLOWEST_S = 30;
  const known = new Map(); // of each part's id: {etag, fails, due, timer}
  let updated = new Date();

  const about = part => {
    if (!known.has(part.id)) known.set(part.id, {etag: null, fails: 0, due: false, timer: 0});
    return known.get(part.id);
  };
  const isPart = part => part?.matches?.(PARTS);

  function plan(part) {
    const it = about(part);
    const own = part.dataset.refresh || part.querySelector("[data-every]")?.dataset.every || IDLE_S;
    clearTimeout(it.timer);
    it.timer = setTimeout(() => refresh(part.id), 1000 * Math.max(own, Math.min(SLOWEST_S, own * 2 ** it.fails)));
  }

  function refresh(id) {
    const part = document.getElementById(id);
    if (!isPart(part)) return known.delete(id);
    if (document.hidden) return (about(part).due = true);
    about(part).due = false;
    part.dispatchEvent(new Event("refresh"));
  }

  function show(isOnline) {
    const note = document.getElementById("offline");
    if (isOnline) updated = new Date();
    if (!note) return;
    note.hidden = isOnline;
    const text = isOnline ? "" : `Offline: last updated ${updated.toLocaleTimeString()}. Trying again.`;
    if (note.textContent !== text) note.textContent = text;
  }

  document.addEventListener("htmx:config:request", ({target, detail: {ctx}}) => {
    const etag = isPart(target) && about(target).etag;
    if (etag) ctx.request.headers["If-None-Match"] = etag;
  });

  document.addEventListener("htmx:before:response", event => {
    const {target, detail: {ctx: {response: {raw}}}} = event;
    if (!isPart(target)) return;
    // Signed out: the page itself goes to where it can sign in, and comes back.
    if (raw.status === 401 || raw.redirected) return event.preventDefault(), location.reload();
    const it = about(target);
    it.answered = raw.ok || raw.status === 304;
    if (raw.ok) it.etag = raw.headers.get("ETag");
    else event.preventDefault();
  });

  document.addEventListener("htmx:finally:request", ({detail: {ctx}}) => {
    const part = ctx.sourceElement;
    if (!isPart(part)) return;
    const it = about(part);
    it.fails = it.answered ? 0 : it.fails + 1;
    show(it.answered === true);
    it.answered = false;
    plan(part);
  });

  const planNew = () => document.querySelectorAll(PARTS).forEach(part => known.has(part.id) || plan(part));
  document.addEventListener("htmx:after:process", planNew);
  planNew();

  document.addEventListener("visibilitychange", () => {
    if (!document.hidden) for (const [id, it] of known) if (it.due) refresh(id);
  });
})();

"use strict";
// Parts that refresh themselves: elements with hx-trigger="refresh" and an id. Each is asked for again every
// `data-refresh` seconds, or as the last `data-every` inside of it says (0: never again), else every 15. Never in a
// hidden tab, less often while requests fail, and with the ETag of the last answer, so that what has not changed is not
// sent. A part with `data-after` is a log: it is asked for what comes after its last line, or after the last `data-next`
// inside of it, keeps its newest lines, and shows its end if it did, or with `data-end`.
(() => {
  const PARTS = '[hx-trigger="refresh"][id]', IDLE_S = 15, SLOWEST_S = 30, MOST_LINES = 5000;
  const known = new Map(); // of each part's id: {etag, fails, due, timer}
  let updated = new Date(), isTyped = false, isOver = false;

  const about = part => {
    if (!known.has(part.id)) known.set(part.id, {etag: part.dataset.etag, fails: 0, due: false, timer: 0});
    return known.get(part.id);
  };
  const isPart = part => part?.matches?.(PARTS);

  function plan(part) {
    const it = about(part);
    // Those of a part inside of this one are not its own.
    const marks = [...part.querySelectorAll("[data-every]")].filter(mark => mark.closest(PARTS) === part);
    const own = +(part.dataset.refresh || marks.pop()?.dataset.every || IDLE_S);
    clearTimeout(it.timer);
    if (own && !isOver) it.timer = setTimeout(() => refresh(part.id), 1000 * Math.max(own, Math.min(SLOWEST_S, own * 2 ** it.fails)));
  }

  function refresh(id) {
    const part = document.getElementById(id);
    if (!isPart(part)) return known.delete(id);
    if (document.hidden) return (about(part).due = true);
    about(part).due = false;
    part.dispatchEvent(new Event("refresh"));
  }

  function show(isOnline, reason) {
    const note = document.getElementById("offline");
    isOnline &&= !isOver; // another part is still there
    if (isOnline) updated = new Date();
    if (!note) return;
    note.hidden = isOnline;
    const over = "You are signed out, or this is not there any more. Copy what you typed, then load the page again.";
    const what = reason ? `${reason[0].toUpperCase()}${reason.slice(1)}. Last` : "Offline: last";
    const text = isOnline ? "" : isOver ? over : `${what} updated ${updated.toLocaleTimeString()}. Trying again.`;
    if (note.textContent !== text) note.textContent = text;
  }

  document.addEventListener("input", () => isTyped = true);

  document.addEventListener("htmx:config:request", ({target, detail: {ctx}}) => {
    if (!isPart(target)) return;
    const {etag} = about(target), log = target.dataset;
    if (etag) ctx.request.headers["If-None-Match"] = etag;
    if (!log.after) return;
    const next = [...target.querySelectorAll("[data-next]")].pop()?.dataset.next || target.querySelector("p:last-of-type")?.id.slice(5);
    const address = ctx.request.action || location.search; // an empty address: that of the page
    ctx.request.action = `${address}${address.includes("?") ? "&" : "?"}after=${encodeURIComponent(next || log.after)}`;
  });

  document.addEventListener("htmx:before:response", event => {
    const {target, detail: {ctx: {response: {raw}}}} = event;
    if (!isPart(target)) return;
    // Signed out, or it is not there any more: the page itself says so, and leads to where one can sign in. What somebody
    // has typed would be lost with it.
    if ([401, 403, 404].includes(raw.status) || raw.redirected) {
      event.preventDefault();
      return isTyped ? (isOver = true) : location.reload();
    }
    const it = about(target);
    it.answered = raw.ok || raw.status === 304;
    it.reason = decodeURIComponent(raw.headers.get("X-Reason") || "");
    if (raw.status === 200) it.etag = raw.headers.get("ETag");
    else event.preventDefault(); // 304, 204: it has not changed, or the server has no time now
    it.atEnd = target.scrollHeight - target.scrollTop - target.clientHeight < 40;
  });

  document.addEventListener("htmx:finally:request", ({detail: {ctx}}) => {
    const part = ctx.sourceElement;
    if (!isPart(part)) return;
    const it = about(part);
    it.fails = it.answered ? 0 : it.fails + 1;
    show(it.answered === true, it.reason);
    it.answered = false;
    if (part.dataset.after) {
      const lines = [...part.querySelectorAll("p")], marks = [...part.querySelectorAll("[data-next]")];
      [...lines.slice(0, -MOST_LINES), ...marks.slice(0, -1)].forEach(each => each.remove());
      if (it.atEnd) part.scrollTop = part.scrollHeight;
    }
    plan(part);
  });

  const planNew = () => document.querySelectorAll(PARTS).forEach(part => {
    if (known.has(part.id)) return;
    if ("end" in part.dataset) part.scrollTop = part.scrollHeight;
    plan(part);
  });
  document.addEventListener("htmx:after:process", planNew);
  planNew();

  document.addEventListener("visibilitychange", () => {
    if (!document.hidden) for (const [id, it] of known) if (it.due) refresh(id);
  });
})();

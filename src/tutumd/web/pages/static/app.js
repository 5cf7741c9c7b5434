"use strict";
// What pages do by themselves: times in the reader's zone, copy buttons, the theme, menus, forms sent once, results said once.
(() => {
  const root = document.documentElement;
  const on = (name, act, target = document) => target.addEventListener(name, act);
  const all = (selector, act) => document.querySelectorAll(selector).forEach(act);

  // The server's clock decides what "3 min ago" means, however wrong the reader's is.
  const ahead = Date.parse(root.dataset.now) - Date.now();
  const UNITS = [[60, 1, "s"], [3600, 60, "min"], [86400, 3600, "h"], [2592000, 86400, "day"]];

  function relative(at) {
    const seconds = (Date.now() + ahead - at) / 1000, size = Math.abs(seconds);
    if (size < 5) return "just now";
    const unit = UNITS.find(([limit]) => size < limit);
    if (!unit) return at.toLocaleDateString();
    const count = seconds > 0 ? Math.floor(size / unit[1]) : Math.round(size / unit[1]);
    const text = `${count} ${unit[2]}${unit[2] === "day" && count > 1 ? "s" : ""}`;
    return seconds > 0 ? `${text} ago` : `in ${text}`;
  }

  // As the server writes it, see rendering.py.
  function elapsed(at) {
    const seconds = Math.max(0, Math.round((Date.now() + ahead - at) / 1000));
    const unit = [[86400, "d", 3600, "h"], [3600, "h", 60, "min"], [60, "min", 1, "s"]].find(([size]) => seconds >= size);
    if (!unit) return `${seconds} s`;
    const [size, name, part, partName] = unit, rest = Math.floor(seconds % size / part);
    return `${Math.floor(seconds / size)} ${name}${rest ? ` ${rest} ${partName}` : ""}`;
  }

  const SHOWN = {clock: at => at.toLocaleTimeString([], {hourCycle: "h23"}), elapsed};

  function showTimes() {
    all("time[datetime]", time => {
      const at = new Date(time.dateTime);
      if (isNaN(at)) return;
      const text = SHOWN[time.dataset.as]?.(at) ?? relative(at);
      if (time.textContent !== text) time.textContent = text;
      time.title = at.toLocaleString([], {dateStyle: "medium", timeStyle: "long"});
    });
  }

  async function copy(text) {
    if (navigator.clipboard) return navigator.clipboard.writeText(text);
    const area = document.createElement("textarea"); // pages without TLS have no clipboard
    area.value = text;
    area.className = "hide";
    document.body.append(area);
    area.select();
    const done = document.execCommand("copy");
    area.remove();
    if (!done) throw new Error("not copied");
  }

  function showTheme() {
    all("[data-theme-choice]", button =>
      button.setAttribute("aria-pressed", button.dataset.themeChoice === (root.dataset.theme || "auto")));
  }

  function chooseTheme(choice) {
    if (choice === "auto") delete root.dataset.theme;
    else root.dataset.theme = choice;
    try {
      if (choice === "auto") localStorage.removeItem("tutumd-theme");
      else localStorage.setItem("tutumd-theme", choice);
    } catch {} // storage is blocked: the theme lasts for this page
    showTheme();
  }

  on("click", async event => {
    const button = event.target.closest("[data-copy], [data-theme-choice]");
    all("details.menu[open]", menu => { if (!menu.contains(event.target)) menu.open = false; });
    if (!button) return;
    if (button.dataset.themeChoice) return chooseTheme(button.dataset.themeChoice);
    const result = await copy(button.dataset.copy).then(() => "done", () => "failed");
    button.dataset.result = result;
    document.getElementById("said").textContent = result === "done" ? "Copied" : "Could not copy";
    setTimeout(() => delete button.dataset.result, 1500);
  });

  on("keydown", event => {
    const menu = event.key === "Escape" && (event.target.closest?.("details.menu[open]") || document.querySelector("details.menu[open]"));
    if (!menu) return;
    menu.open = false;
    menu.querySelector("summary").focus();
  });

  // A second press of a button does not send its form twice.
  on("submit", event => {
    if (event.target.method !== "post") return;
    if (event.target.dataset.sent) event.preventDefault();
    event.target.dataset.sent = "1";
  });
  on("pageshow", () => all("form[data-sent]", form => delete form.dataset.sent), window);

  // What a form did is said once: not again after a reload, or by a bookmark. See `RESULTS` in rendering.py.
  const here = new URL(location);
  if (here.searchParams.has("did")) {
    here.searchParams.delete("did");
    history.replaceState(history.state, "", here);
  }

  on("htmx:after:swap", () => { showTimes(); showTheme(); });
  let ticks = 0;
  setInterval(() => {
    if (!document.hidden && (++ticks % 5 === 0 || document.querySelector('[data-as="elapsed"]'))) showTimes();
  }, 1000);
  showTimes();
  showTheme();
})();

"use strict";
// Loaded before the first paint, so that a chosen theme does not flash. `data-scripts` shows what needs scripts.
document.documentElement.dataset.scripts = "";
try {
  const theme = localStorage.getItem("tutumd-theme");
  if (theme === "light" || theme === "dark") document.documentElement.dataset.theme = theme;
} catch {} // storage is blocked

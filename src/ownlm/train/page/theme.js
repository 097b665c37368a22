// Before the first paint: the colours chosen earlier on this machine. Without a choice, the system decides.
"use strict";
try {
  const chosen = localStorage.getItem("ownlm-theme");
  if (chosen === "light" || chosen === "dark") document.documentElement.dataset.theme = chosen;
} catch { /* storage is switched off: the system decides */ }

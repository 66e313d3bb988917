// What the page does with JavaScript beyond htmx: "/" goes to the search, and the focus stays where one was reading.
// Without JavaScript every view and every form works as well.
"use strict";

document.addEventListener("keydown", (event) => {
  const typing = event.target.closest("input, textarea, select, [contenteditable]");
  if (event.key !== "/" || typing || event.ctrlKey || event.metaKey || event.altKey) return;
  const field = document.getElementById("query");
  const link = document.querySelector("nav a[data-search]");
  if (field) {
    event.preventDefault();
    field.focus();
    field.select();
  } else if (link) {
    event.preventDefault();
    link.click();
  }
});

// Where more was loaded in the place of the link that asked for it, the focus goes to the first of what is new.
document.addEventListener("htmx:beforeSwap", (event) => {
  if (event.target.id === "more" && event.target.contains(document.activeElement)) {
    const before = new Set(document.querySelectorAll(".entry a.text, .change a"));
    document.addEventListener("htmx:afterSettle", () => {
      const first = [...document.querySelectorAll(".entry a.text, .change a")].find((link) => !before.has(link));
      if (first) first.focus();
    }, { once: true });
  }
});

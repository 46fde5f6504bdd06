// The keys: everything they do can be done by Tab and Enter as well.
"use strict";

const FIELDS = "input, textarea, select, [contenteditable]";

function move(step) {
  const rows = [...document.querySelectorAll("ol.rows a.open")];
  if (!rows.length) return false;
  const here = rows.findIndex((row) => row === document.activeElement);
  const next = here < 0 ? (step > 0 ? 0 : rows.length - 1) : here + step;
  if (next < 0 || next >= rows.length) {
    follow(step > 0 ? "next" : "prev");
  } else {
    rows[next].focus();
    rows[next].scrollIntoView({ block: "nearest" });
  }
  return true;
}

function follow(rel) {
  const link = document.querySelector(`a[rel="${rel}"]`);
  if (link) link.click();
  return Boolean(link);
}

function press(key) {
  const isList = document.querySelector("ol.rows") !== null;
  switch (key) {
    case "/": {
      const search = document.getElementById("q");
      search.focus();
      search.select();
      return true;
    }
    case "j":
      return isList ? move(1) : follow("next");
    case "k":
      return isList ? move(-1) : follow("prev");
    case "ArrowDown":
      return isList && move(1);
    case "ArrowUp":
      return isList && move(-1);
    case "ArrowRight":
      return !isList && follow("next");
    case "ArrowLeft":
      return !isList && follow("prev");
    case "u": {
      const list = document.querySelector("a.up");
      if (list) list.click();
      return list !== null;
    }
    default:
      return false;
  }
}

document.addEventListener("keydown", (event) => {
  if (event.ctrlKey || event.metaKey || event.altKey) return;
  if (event.target instanceof Element && event.target.closest(FIELDS)) {
    if (event.key === "Escape") event.target.blur();
    return;
  }
  if (press(event.key)) event.preventDefault();
});

const sort = document.getElementById("sort");
if (sort) sort.addEventListener("change", () => sort.form.requestSubmit());

const act = document.querySelector("form.act");
if (act) {
  act.addEventListener("submit", () => {
    const button = act.querySelector("button");
    button.disabled = true;
    button.textContent += " …";
  });
}

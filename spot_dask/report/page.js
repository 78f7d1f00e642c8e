"use strict";
// Sorting and filtering of the table of trials; opening everything for the printer.
for (const table of document.querySelectorAll("table.tool")) {
  const body = table.tBodies[0];
  const rows = Array.from(body.rows);
  const heads = Array.from(table.tHead.rows[0].cells);
  const key = (row, i) => {
    const cell = row.cells[i];
    const text = cell.dataset.sort ?? cell.textContent;
    const number = Number(text);
    return text.trim() === "" || Number.isNaN(number) ? text : number;
  };
  const missing = (v) => v === "–" || v === "";
  const compare = (a, b) => {
    const numbers = typeof a === "number" && typeof b === "number";
    return numbers ? a - b : String(a).localeCompare(String(b), "en", { numeric: true });
  };
  heads.forEach((head, i) => {
    const button = document.createElement("button");
    button.type = "button";
    button.append(...head.childNodes);
    head.append(button);
    button.addEventListener("click", () => {
      const down = head.getAttribute("aria-sort") === "ascending";
      heads.forEach((other) => other.removeAttribute("aria-sort"));
      head.setAttribute("aria-sort", down ? "descending" : "ascending");
      // Unknown values stay at the end in both directions.
      body.append(...rows.slice().sort((r, s) => {
        const a = key(r, i), b = key(s, i);
        if (missing(a) || missing(b)) return missing(a) - missing(b);
        return down ? compare(b, a) : compare(a, b);
      }));
    });
  });
  const bar = document.createElement("div");
  bar.className = "filter";
  const input = document.createElement("input");
  input.type = "search";
  input.placeholder = "Filter, e.g. failed";
  input.setAttribute("aria-label", "Filter the trials");
  const count = document.createElement("span");
  count.setAttribute("role", "status");
  input.addEventListener("input", () => {
    const words = input.value.toLowerCase().split(/\s+/).filter(Boolean);
    let shown = 0;
    for (const row of rows) {
      const text = Array.from(row.cells, (c) => c.textContent.toLowerCase());
      row.hidden = !words.every((w) => text.some((t) => t.includes(w)));
      if (!row.hidden) shown += 1;
    }
    count.textContent = words.length ? `${shown} of ${rows.length} shown` : "";
  });
  bar.append(input, count);
  table.parentElement.before(bar);
}
let folded = [];
addEventListener("beforeprint", () => {
  const closed = Array.from(document.querySelectorAll("details:not([open])"));
  closed.forEach((d) => { d.open = true; });
  folded.push(...closed);
});
addEventListener("afterprint", () => {
  folded.forEach((d) => { d.open = false; });
  folded = [];
});

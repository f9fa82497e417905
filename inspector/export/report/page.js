"use strict";
// A field and its bytes mark each other. Everything can be read without this.
const COLUMN = 10; // where the bytes of a line begin: eight digits, two blanks
const at = (nth) => COLUMN + 3 * nth + (nth > 7 ? 1 : 0);

function pieces(row) {
  return row.dataset.at.split(",").map((piece) => piece.split("+").map(Number));
}

function plain(line) {
  line.textContent = line.textContent;
}

function paint(line, spans) {
  const text = line.textContent, start = Number(line.dataset.o), count = Number(line.dataset.n);
  const parts = [];
  let from = 0;
  for (const [offset, size] of spans) {
    const first = Math.max(offset - start, 0), last = Math.min(offset + size - start, count) - 1;
    if (last < first) continue;
    parts.push(text.slice(from, at(first)));
    const mark = document.createElement("mark");
    mark.textContent = text.slice(at(first), at(last) + 2);
    parts.push(mark);
    from = at(last) + 2;
  }
  if (!parts.length) return false;
  line.replaceChildren(...parts, text.slice(from));
  return true;
}

function live(pair) {
  const rows = [...pair.querySelectorAll("tr[data-at]")], lines = [...pair.querySelectorAll("code[data-o]")];
  const pane = pair.querySelector("pre");
  if (!lines.length) return;
  let on = null, held = false, painted = [];
  function show(row, scroll) {
    if (row === on) return;
    if (on) on.classList.remove("on");
    painted.forEach(plain);
    painted = [];
    on = row;
    if (!row) return;
    row.classList.add("on");
    const spans = pieces(row).sort((one, other) => one[0] - other[0]);
    painted = lines.filter((line) => paint(line, spans));
    if (scroll && painted.length) pane.scrollTop = painted[0].offsetTop - pane.offsetTop - 48;
  }
  function rowAt(event) {
    const line = event.target.closest("code[data-o]");
    if (!line) return null;
    const found = document.caretPositionFromPoint
      ? document.caretPositionFromPoint(event.clientX, event.clientY)
      : document.caretRangeFromPoint && document.caretRangeFromPoint(event.clientX, event.clientY);
    if (!found) return null;
    const range = document.createRange();
    range.setStart(line, 0);
    range.setEnd(found.offsetNode || found.startContainer, found.offset ?? found.startOffset);
    const column = range.toString().length;
    let nth = 0;
    while (nth + 1 < Number(line.dataset.n) && at(nth + 1) <= column) nth += 1;
    const byte = Number(line.dataset.o) + nth;
    const size = (row) => pieces(row).reduce((sum, piece) => sum + piece[1], 0);
    const holds = (row) => pieces(row).some(([offset, count]) => offset <= byte && byte < offset + count);
    return rows.filter(holds).sort((one, other) => size(one) - size(other))[0] || null;
  }
  pair.classList.add("live");
  for (const row of rows) {
    row.addEventListener("mouseenter", () => held || show(row, false));
    row.addEventListener("click", () => { held = !(held && row === on); show(row, true); });
  }
  pane.addEventListener("mousemove", (event) => { if (!held) show(rowAt(event) || on, false); });
  pane.addEventListener("click", (event) => {
    const row = rowAt(event);
    held = Boolean(row);
    show(row, false);
    if (row) row.scrollIntoView({ block: "nearest" });
  });
  pair.addEventListener("mouseleave", () => held || show(null, false));
}

document.querySelectorAll(".pair").forEach(live);

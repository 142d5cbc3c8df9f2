"use strict";
const main = document.querySelector("main");
const cards = Array.from(main.children);
const sort = document.querySelector("#sort"), status = document.querySelector("#status"), find = document.querySelector("#find");
function number(card, key) {
  const value = parseFloat(card.dataset[key]);
  return Number.isNaN(value) ? Infinity : value;
}
function show() {
  const [key, direction] = sort.value.split(":");
  const order = key === "name"
    ? (a, b) => a.dataset.name.localeCompare(b.dataset.name)
    : (a, b) => {
        const x = number(a, key), y = number(b, key);
        if (x === y) return a.dataset.name.localeCompare(b.dataset.name);
        if (x === Infinity) return 1;
        if (y === Infinity) return -1;
        return direction === "down" ? y - x : x - y;
      };
  const wanted = find.value.toLowerCase();
  let shown = 0;
  for (const card of cards.sort(order)) {
    const hit = (status.value === "" || card.dataset.status === status.value) && card.dataset.name.toLowerCase().includes(wanted);
    card.hidden = !hit;
    shown += hit;
    main.append(card);
  }
  document.querySelector("#shown").textContent = shown;
  document.querySelector("#none").hidden = shown > 0;
}
for (const control of [sort, status, find]) control.addEventListener("input", show);
show();

"use strict";
const all = (query) => Array.from(document.querySelectorAll(query));
const group = document.querySelector("#group"), metric = document.querySelector("#metric");
const role = document.querySelector("#role"), find = document.querySelector("#find"), boxes = all("#methods input");
function show() {
  const shown = new Set(boxes.filter((box) => box.checked).map((box) => box.value));
  for (const part of all("[data-method]")) part.toggleAttribute("hidden", !shown.has(part.dataset.method));
  for (const part of all("svg [data-method]")) part.style.display = shown.has(part.dataset.method) ? "" : "none";
  if (group) for (const part of all("tbody[data-group]")) part.hidden = part.dataset.group !== group.value;
  if (metric) for (const part of all("figure[data-metric]")) part.hidden = part.dataset.metric !== metric.value;
  const wanted = find ? find.value.toLowerCase() : "";
  let count = 0;
  for (const card of all("article[data-key]")) {
    const tags = card.dataset.tags.split(" ").filter((tag) => shown.has(tag.split(":")[0]));
    const fits = tags.some((tag) => !role.value || tag.split(":")[1] === role.value);
    const inGroup = !group || !group.value || card.dataset.groups.split("\n").includes(group.value);
    card.hidden = !(fits && inGroup && card.dataset.key.toLowerCase().includes(wanted));
    count += !card.hidden;
  }
  const none = document.querySelector("#none");
  if (none) none.hidden = count > 0;
}
for (const control of [group, metric, role, find, ...boxes]) if (control) control.addEventListener("input", show);
show();

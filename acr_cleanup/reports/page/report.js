// The script of report.html. Foreign text reaches the page only as `textContent` or as an attribute
// that holds text, never as markup.
"use strict";

const read = (element) => JSON.parse(element.textContent);
const byId = (id) => document.getElementById(id);
const run = read(byId("run"));
const ages = read(byId("ages"));
const blocks = [...document.querySelectorAll("script.tags")].map(read);
const ROWS = 50;
const DAY = 86400000;
const number = (value) => value.toLocaleString("en");

/** Bytes in IEC units. */
function size(bytes) {
  const units = ["B", "KiB", "MiB", "GiB", "TiB", "PiB"];
  let unit = 0;
  while (bytes >= 1023.5 && unit < units.length - 1) { bytes /= 1024; unit += 1; }
  return `${unit && bytes < 99.95 ? bytes.toFixed(1) : Math.round(bytes)} ${units[unit]}`;
}

/** Make an HTML element with attributes and children (text or elements). */
function make(name, attributes = {}, ...children) {
  const element = document.createElement(name);
  for (const [key, value] of Object.entries(attributes)) element.setAttribute(key, value);
  element.append(...children);
  return element;
}

/** An empty drawing as wide as the page, so that its letters have the size of the page's text. */
function canvas(id, height) {
  const svg = byId(id);
  const wide = Math.max(svg.clientWidth || document.documentElement.clientWidth, 320);
  svg.replaceChildren();
  svg.setAttribute("viewBox", `0 0 ${wide} ${height}`);
  return [svg, wide];
}

/** Make an SVG element inside `parent`. */
function draw(parent, name, attributes = {}, text = "") {
  const element = document.createElementNS(parent.namespaceURI, name);
  for (const [key, value] of Object.entries(attributes)) element.setAttribute(key, value);
  element.textContent = text;
  parent.append(element);
  return element;
}

const show = (part) => { document.querySelector(`[data-part=${part}]`).hidden = false; };

function legend(element, fates) {
  element.replaceChildren();
  for (const fate of fates) {
    const item = make("span");
    const svg = byId("treemap").cloneNode(false);
    svg.removeAttribute("id");
    svg.removeAttribute("role");
    svg.removeAttribute("aria-label");
    svg.setAttribute("aria-hidden", "true");
    svg.setAttribute("viewBox", "0 0 10 10");
    draw(svg, "rect", { width: 10, height: 10, rx: 2, class: fate });
    item.append(svg, run.fates[fate]);
    element.append(item);
  }
}

// Repositories: rows of [name, tags, gone, left, kept, in use, bytes gone, in use, kept, error].
const repositories = run.repositories;
const bytesOf = (row) => row[6] + row[7] + row[8];

/** Place items of positive `value` in a rectangle, as squares as possible (squarified treemap). */
function squarify(items, x, y, width, height, place) {
  let rest = items.reduce((sum, item) => sum + item.value, 0);
  let start = 0;
  while (start < items.length) {
    const side = Math.min(width, height);
    const scale = (width * height) / rest;
    let end = start, sum = 0, worst = Infinity;
    while (end < items.length) {
      const next = sum + items[end].value;
      const depth = (next * scale) / side;
      const ratio = Math.max(...[items[start].value, items[end].value].map((value) => {
        const length = (value * scale) / depth;
        return Math.max(length / depth, depth / length);
      }));
      if (ratio > worst) break;
      [sum, worst, end] = [next, ratio, end + 1];
    }
    const depth = (sum * scale) / side;
    let along = 0;
    for (const item of items.slice(start, end)) {
      const length = (item.value * scale) / depth;
      if (width >= height) place(item, x, y + along, depth, length);
      else place(item, x + along, y, length, depth);
      along += length;
    }
    if (width >= height) { x += depth; width -= depth; } else { y += depth; height -= depth; }
    rest -= sum;
    start = end;
  }
}

function drawTreemap() {
  const parts = [["delete", 6], ["use", 7], ["keep", 8]];
  const sized = repositories.filter((row) => bytesOf(row) > 0).sort((a, b) => bytesOf(b) - bytesOf(a));
  if (!sized.length) return;
  show("treemap");
  const items = sized.slice(0, run.cells).map((row) => ({ row, name: row[0], value: bytesOf(row) }));
  const others = [...sized.slice(run.cells), ...(run.others ? [run.others] : [])];
  if (others.length) {
    const sums = ["", ...Array(8).fill(0), ""].map((zero, index) => (zero === "" ? "" : others.reduce((sum, row) => sum + row[index], 0)));
    const name = `${number(sized.length - items.length + run.hidden)} smaller repositories`;
    if (bytesOf(sums)) items.push({ row: sums, name, value: bytesOf(sums), many: true });
    items.sort((a, b) => b.value - a.value);
  }
  const [svg, wide] = canvas("treemap", 380);
  squarify(items, 0, 0, wide, 380, (item, x, y, width, height) => {
    const words = parts.filter(([, index]) => item.row[index]).map(([fate, index]) => `${run.fates[fate]} ${size(item.row[index])}`);
    const label = `${item.name}: ${size(item.value)} (${words.join(", ")})`;
    const cell = draw(svg, "g", item.many ? { class: "cell" } : { class: "cell", tabindex: 0, role: "button", "aria-label": label });
    draw(cell, "title", {}, label);
    let offset = 0;
    for (const [fate, index] of parts) {
      const share = item.row[index] / item.value;
      const box = width >= height
        ? { x: x + offset * width, y, width: width * share, height }
        : { x, y: y + offset * height, width, height: height * share };
      if (share) draw(cell, "rect", { ...box, class: fate });
      offset += share;
    }
    draw(cell, "rect", { x, y, width, height, class: "frame" });
    if (width > 64 && height > 22) draw(cell, "text", { x: x + 7, y: y + 17 }, cut(item.name, width - 12));
    if (width > 64 && height > 42) draw(cell, "text", { x: x + 7, y: y + 33 }, size(item.value));
    if (!item.many) activate(cell, () => chooseRepository(item.name));
  });
  legend(byId("treemap-legend"), parts.map(([fate]) => fate));
}

/** Cut the text to this width in the treemap, at about seven units a letter. */
function cut(text, width) {
  const letters = Math.floor(width / 7);
  return text.length <= letters ? text : `…${text.slice(1 - letters)}`;
}

function activate(element, action) {
  element.addEventListener("click", action);
  element.addEventListener("keydown", (event) => {
    if (event.key === "Enter" || event.key === " ") { event.preventDefault(); action(); }
  });
}

/** Bars of tags by age. Each limit is an edge of a bar. */
function drawTimeline() {
  const totals = ages.labels.map((_, bar) => ages.fates.reduce((sum, fate) => sum + ages.counts[fate][bar], 0));
  const places = ages.limits.map(([place]) => place);
  const first = Math.min(totals.findIndex(Boolean), ...places.map((place) => place - 1));
  let last = totals.findLastIndex(Boolean);
  if (last < 0) return;
  last = Math.max(last, ...places);
  const from = Math.max(first, 0);
  show("timeline");
  const [svg, wide] = canvas("timeline", 260);
  const most = Math.max(...totals);
  const width = (wide - 40) / (last - from + 1);
  const [top, bottom] = [26, 225];
  draw(svg, "text", { x: 0, y: 12 }, `${number(most)} tags`);
  for (let bar = from; bar <= last; bar += 1) {
    const x = 20 + (bar - from) * width;
    let y = bottom;
    const words = ages.fates.filter((fate) => ages.counts[fate][bar]).map((fate) => `${number(ages.counts[fate][bar])} ${run.fates[fate]}`);
    const group = draw(svg, "g");
    draw(group, "title", {}, `${ages.labels[bar]}: ${words.join(", ") || "no tags"}`);
    for (const fate of ages.fates) {
      const height = ((bottom - top) * ages.counts[fate][bar]) / most;
      if (!height) continue;
      y -= height;
      draw(group, "rect", { x: x + 1.5, y, width: width - 3, height, class: fate });
    }
    if (width > 34 || (bar - from) % 2 === 0) draw(svg, "text", { x: x + width / 2, y: bottom + 17, "text-anchor": "middle" }, ages.short[bar]);
  }
  draw(svg, "line", { x1: 20, x2: wide - 20, y1: bottom, y2: bottom, class: "axis" });
  for (const [place, text] of ages.limits) {
    const x = 20 + (place - from) * width;
    const right = x > wide - 120;
    draw(svg, "line", { x1: x, x2: x, y1: 8, y2: bottom, class: "limit" });
    draw(svg, "text", { x: x + (right ? -6 : 6), y: 16, "text-anchor": right ? "end" : "start" }, `limit: ${text}`);
  }
  draw(svg, "text", { x: wide / 2, y: 254, "text-anchor": "middle" }, "days since the last push, up to");
  legend(byId("timeline-legend"), ages.fates.filter((fate) => ages.counts[fate].some(Boolean)));
  byId("timeline-text").textContent = ages.text;
}

// The table of repositories.
const columns = [
  ["Repository", (row) => row[0]], ["Tags", (row) => row[1]], [run.gone, (row) => row[2]], ["In use", (row) => row[5]],
  ["Kept", (row) => row[4]], [run.freed, (row) => row[6]], ["Kept bytes", (row) => row[7] + row[8]],
];
let sorting = { column: 5, down: true };
let repositoriesShown = 100;

function drawRepositories() {
  const head = document.querySelector("#repositories thead tr");
  head.replaceChildren(...columns.map(([title], index) => {
    const button = make("button", { type: "button" }, title);
    button.addEventListener("click", () => {
      sorting = { column: index, down: sorting.column === index ? !sorting.down : index > 0 };
      drawRepositories();
      head.children[index].firstChild.focus();
    });
    const sort = sorting.column !== index ? "none" : sorting.down ? "descending" : "ascending";
    return make("th", { scope: "col", "aria-sort": sort, class: index ? "number" : "" }, button);
  }));
  const value = columns[sorting.column][1];
  const order = [...repositories].sort((a, b) => {
    const [left, right] = [value(a), value(b)];
    const compared = left < right ? -1 : left > right ? 1 : a[0] < b[0] ? -1 : 1;
    return sorting.down && left !== right ? -compared : compared;
  });
  document.querySelector("#repositories tbody").replaceChildren(...order.slice(0, repositoriesShown).map((row) => {
    const button = make("button", { type: "button", class: "link" }, row[0]);
    button.addEventListener("click", () => chooseRepository(row[0]));
    const name = make("th", { scope: "row" }, button);
    if (row[9]) name.append(make("br"), make("small", {}, `Not read: ${row[9]}`));
    const cells = columns.slice(1).map(([, of], index) => make("td", { class: "number" }, (index >= 4 ? size : number)(of(row))));
    return make("tr", {}, name, ...cells);
  }));
  byId("more-repositories").hidden = order.length <= repositoriesShown;
}

// Tags: one flat list of [block, group, place].
const names = blocks.map((block) => block.repository);
const tags = [];
blocks.forEach((block, which) => block.groups.forEach((group, place) => {
  const oldestFirst = [...group.days.keys()].sort((a, b) => group.days[a] - group.days[b]);
  oldestFirst.forEach((item) => tags.push([which, place, item]));
}));
const lowered = blocks.map((block) => block.groups.map((group) => ({
  names: group.names.map((name) => name.toLowerCase()),
  rest: [block.repository, block.texts[group.note], ...group.reasons.flatMap((reason) => [block.texts[reason[1]], ...reason[2].map((text) => block.texts[text])])].join("\n").toLowerCase(),
})));
let matches = tags;
let tagsShown = ROWS;

const groupOf = ([which, place]) => blocks[which].groups[place];
const textOf = (which, place) => blocks[which].texts[place];

// A push is twice its day, plus one if its time of day is later than that of the plan.
function pushed(tag) {
  const half = groupOf(tag).days[tag[2]];
  return half === null ? "unknown" : new Date(Math.floor(half / 2) * DAY).toISOString().slice(0, 10);
}

function age(tag) {
  const half = groupOf(tag).days[tag[2]];
  if (half === null) return "";
  const days = run.today - Math.ceil(half / 2);
  return days < 1 ? "less than 1d ago" : `${number(days)}d ago`;
}

function why(tag) {
  const group = groupOf(tag);
  const text = (place) => textOf(tag[0], place);
  if (!group.reasons.length) return text(group.note) || "not in use";
  const [title, detail, users] = group.reasons[0];
  const more = users.length > 1 ? ` and ${users.length - 1} more` : "";
  return users.length ? `${text(title)}: ${text(users[0])}${more}` : text(detail) || text(title);
}

function filter() {
  const wanted = byId("search").value.trim().toLowerCase();
  const [repository, fate] = [byId("repository").value, byId("fate").value];
  matches = tags.filter(([which, place, item]) => {
    const group = blocks[which].groups[place];
    if (repository && names[which] !== repository) return false;
    if (fate && group.fate !== fate) return false;
    const low = lowered[which][place];
    return !wanted || low.names[item].includes(wanted) || low.rest.includes(wanted) ||
      (wanted.includes(":") && `${names[which].toLowerCase()}:${low.names[item]}`.includes(wanted));
  });
  tagsShown = ROWS;
  drawTags();
}

function drawTags() {
  const rows = matches.slice(0, tagsShown).map((tag) => {
    const group = groupOf(tag);
    const button = make("button", { type: "button", class: "link" }, group.names[tag[2]]);
    button.addEventListener("click", () => openDetails(tag));
    return make("tr", {}, make("th", { scope: "row" }, button), make("td", {}, names[tag[0]]),
      make("td", { class: "nowrap" }, pushed(tag), make("br"), make("small", {}, age(tag))),
      make("td", {}, make("span", { class: `badge ${group.fate}` }, run.fates[group.fate])), make("td", {}, why(tag)));
  });
  document.querySelector("#tags tbody").replaceChildren(...rows);
  byId("more-tags").hidden = matches.length <= tagsShown;
  const hidden = run.tags - tags.length;
  const missing = hidden ? ` This page has ${number(tags.length)} of ${number(run.tags)} tags, deletions first. report.json has all of them.` : "";
  byId("matches").textContent = `${number(matches.length)} tags, ${number(rows.length)} shown.${missing}`;
}

function openDetails(tag) {
  const [which, , item] = tag;
  const group = groupOf(tag);
  byId("details-title").textContent = `${names[which]}:${group.names[item]}`;
  const body = byId("details-body");
  const facts = [run.fates[group.fate], `last pushed ${pushed(tag)}${age(tag) && ` (${age(tag)})`}`];
  if (group.digests.length) facts.push(group.digests[item]);
  body.replaceChildren(make("p", {}, make("span", { class: `badge ${group.fate}` }, facts[0]), ` ${facts.slice(1).join(", ")}`));
  const note = textOf(which, group.note);
  if (note) body.append(make("p", {}, note));
  if (!group.reasons.length) body.append(make("p", {}, "No rule keeps this tag, and nothing that was read uses it."));
  for (const [title, detail, users, more] of group.reasons) {
    body.append(make("h3", {}, `Kept: ${textOf(which, title)}`));
    if (textOf(which, detail)) body.append(make("p", {}, textOf(which, detail)));
    if (users.length) body.append(make("ul", {}, ...users.map((user) => make("li", {}, textOf(which, user)))));
    if (more) body.append(make("p", {}, `… and ${number(more)} more in report.json`));
  }
  byId("details").showModal();
}

function chooseRepository(name) {
  const select = byId("repository");
  if (![...select.options].some((option) => option.value === name)) select.append(make("option", { value: name }, name));
  select.value = name;
  byId("search").value = "";
  byId("fate").value = "";
  filter();
  byId("tags-section").scrollIntoView();
  byId("search").focus({ preventScroll: true });
}

function prepareTags() {
  byId("repository").append(make("option", { value: "" }, "all"), ...[...names].sort().map((name) => make("option", { value: name }, name)));
  byId("fate").append(make("option", { value: "" }, "all"), ...Object.entries(run.fates).map(([fate, title]) => make("option", { value: fate }, title)));
  let waiting = 0;
  byId("search").addEventListener("input", () => { clearTimeout(waiting); waiting = setTimeout(filter, 120); });
  byId("repository").addEventListener("change", filter);
  byId("fate").addEventListener("change", filter);
  byId("filters").addEventListener("submit", (event) => { event.preventDefault(); filter(); });
  byId("more-tags").addEventListener("click", () => { tagsShown += ROWS; drawTags(); });
  byId("more-repositories").addEventListener("click", () => { repositoriesShown += 500; drawRepositories(); });
  document.addEventListener("keydown", (event) => {
    const field = ["INPUT", "SELECT"].includes(document.activeElement.tagName);
    if (event.key === "/" && !field && !byId("details").open) { event.preventDefault(); byId("search").focus(); }
    if (event.key === "ArrowDown" || event.key === "ArrowUp") moveBetweenTags(event);
  });
}

/** Move the focus from tag to tag; from the search field to the first tag, and back. */
function moveBetweenTags(event) {
  const buttons = [...document.querySelectorAll("#tags tbody button")];
  const place = buttons.indexOf(document.activeElement);
  const searching = document.activeElement === byId("search");
  if (place < 0 && !(searching && event.key === "ArrowDown")) return;
  event.preventDefault();
  const next = event.key === "ArrowDown" ? buttons[place + 1] : buttons[place - 1] || byId("search");
  if (next) next.focus();
}

function drawCharts() {
  drawTreemap();
  drawTimeline();
}

drawCharts();
addEventListener("resize", drawCharts);
if (repositories.length) { show("repositories"); drawRepositories(); }
byId("other-repositories").textContent = run.hidden ? `… and ${number(run.hidden)} more repositories in report.json` : "";
if (run.tags) { show("tags"); prepareTags(); drawTags(); }

// The list of findings, a listbox: arrows move in it, and it tells screen readers what the marks show.

import { $, fill, make } from "./dom.js";
import { ASSERTIONS, STATES, TYPES, confidenceOf, hasTerm, percent } from "./words.js";

export function showFindings(items, selected, unsureBelow, picked) {
  const list = $("list");
  fill(list, ...items.map((item) => option(item, item.key === selected, unsureBelow, picked)));
  const at = items.some((item) => item.key === selected);
  if (at) list.setAttribute("aria-activedescendant", `f-${selected}`);
  else list.removeAttribute("aria-activedescendant");
  list.hidden = items.length === 0;
  if (at) reveal(list, $(`f-${selected}`));
  const open = items.filter((item) => item.status === "proposed").length;
  $("count").textContent = items.length ? `${items.length - open} of ${items.length} decided` : "";
}

// Scrolls the list alone, not the page.
function reveal(list, row) {
  const above = row.offsetTop - list.offsetTop, below = above + row.offsetHeight;
  if (above < list.scrollTop) list.scrollTop = above;
  else if (below > list.scrollTop + list.clientHeight) list.scrollTop = below - list.clientHeight;
}

// What is only heard: the name of an option is all that stands in it, seen or not.
const heard = (words) => make("span", { class: "unseen", text: words });

function option(item, selected, unsureBelow, picked) {
  const { entity } = item, confidence = confidenceOf(item);
  const unsure = item.status === "proposed" && confidence < unsureBelow;
  const term = entity.hpo_label ?? (hasTerm(entity.type) ? "no term" : TYPES[entity.type].name);
  const told = entity.assertion === "present" ? [] : [make("span", { class: "tag", text: ASSERTIONS[entity.assertion].name })];
  const { name, sign } = STATES[item.status];
  const facts = [make("span", { class: `state s-${item.status}` }, make("span", { "aria-hidden": "true", text: sign }), ` ${name} `)];
  if (confidence !== null) {
    const shown = `${unsure ? "unsure, " : ""}${percent(confidence)}`;
    facts.push(make("span", { class: unsure ? "tag warn" : "sure" }, heard("confidence "), shown));
  }
  return make("li", {
    role: "option", id: `f-${item.key}`, "aria-selected": String(selected),
    class: `finding t-${entity.type} s-${item.status}`, onclick: () => picked(item.key),
  },
  make("span", { class: "letter", "aria-hidden": "true", text: TYPES[entity.type].letter }), heard(`${TYPES[entity.type].name}: `),
  make("span", { class: "what" },
    make("span", { class: `label${entity.hpo_label || !hasTerm(entity.type) ? "" : " none"}` }, term, " ", ...told),
    make("q", { text: entity.name_colloquial })),
  make("span", { class: "state-row" }, ...facts));
}

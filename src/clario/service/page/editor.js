// The finding that is chosen: what it is, and every way to change it.

import { $, fill, make } from "./dom.js";
import { ASSERTIONS, TYPES, confidenceOf, hasTerm, isSettled, percent } from "./words.js";

const FOUND = {
  exact: "word for word", normalized: "in another form", fuzzy: "with a typing error", dense: "by its meaning",
};

export function setUpEditor({ change, changeTerm, close, moveSpan, step }) {
  const names = Object.entries(ASSERTIONS);
  fill($("assertions"), ...names.flatMap(([value, { name }], n) => [
    make("input", { type: "radio", name: "assertion", id: `a-${value}`, value, "aria-keyshortcuts": String(n + 1) }),
    make("label", { for: `a-${value}` }, make("span", { text: name }), make("kbd", { text: String(n + 1), "aria-hidden": "true" })),
  ]));
  fill($("type"), ...Object.entries(TYPES).map(([value, { name }]) => make("option", { value, text: name })));
  $("assertions").addEventListener("change", (event) => change({ action: "assertion", assertion: event.target.value }));
  $("type").addEventListener("change", (event) => change({ action: "type", type: event.target.value }));
  $("accept").addEventListener("click", () => change({ action: "accept" }));
  $("reject").addEventListener("click", () => change({ action: "reject" }));
  $("change-term").addEventListener("click", changeTerm);
  $("editor-close").addEventListener("click", close);
  $("previous").addEventListener("click", () => step(-1));
  $("next").addEventListener("click", () => step(1));
  for (const button of document.querySelectorAll("[data-span]")) {
    button.addEventListener("click", () => moveSpan(button.dataset.span.slice(0, -1), button.dataset.span.endsWith("+") ? 1 : -1));
  }
}

export function showEditor(item, labels, change) {
  $("editor").hidden = !item;
  if (!item) return;
  const { entity } = item;
  $("editor").className = `editor t-${entity.type}`;
  $("editor-title").textContent = TYPES[entity.type].name;
  $("quote").textContent = entity.name_colloquial;
  showTerm(item);
  showOthers(item, labels, change);
  $(`a-${entity.assertion}`).checked = true;
  $("type").value = entity.type;
  $("accept").disabled = isSettled(item);
  $("reject").disabled = item.status === "rejected";
  showProposal(item);
}

function showTerm({ entity, ...item }) {
  const wanted = hasTerm(entity.type);
  $("change-term").hidden = !wanted;
  if (!wanted) fill($("term"), make("span", { class: "soft", text: "Things of this type have no HPO term." }));
  else if (entity.hpo_id) fill($("term"), make("strong", { text: entity.hpo_label }), " ", make("span", { class: "id", text: entity.hpo_id }));
  else fill($("term"), make("strong", { class: "none", text: "No term" }), " ", make("span", { class: "soft", text: "nothing in HPO fits, or nobody has chosen one" }));
  const confidence = confidenceOf({ entity, ...item });
  const parts = confidence === null ? [] : [`The model is ${percent(confidence)} sure`];
  if (entity.hpo_id && item.status === "proposed" && entity.match.name && FOUND[entity.match.method]) {
    parts.push(`found “${entity.match.name}” ${FOUND[entity.match.method]}`);
  }
  $("how").textContent = parts.length ? `${parts.join("; ")}.` : "";
  $("how").hidden = parts.length === 0;
}

function showOthers(item, labels, change) {
  const { match } = item.proposed ?? item.entity;
  const others = hasTerm(item.entity.type) ? match.candidates.filter((id) => id !== item.entity.hpo_id).slice(0, 3) : [];
  fill($("others"), ...others.map((id) => make("button", {
    type: "button", class: "chip", text: labels[id] ?? id,
    onclick: () => change({ action: "term", hpo_id: id, label: labels[id] }),
  })));
  if (others.length) $("others").prepend(make("span", { class: "soft small", text: "or" }));
  $("others").hidden = others.length === 0;
}

function showProposal({ status, entity, proposed }) {
  const was = [];
  if (status === "changed" && proposed) {
    if (proposed.name_colloquial !== entity.name_colloquial) was.push(`“${proposed.name_colloquial}”`);
    if (proposed.type !== entity.type) was.push(TYPES[proposed.type].name.toLowerCase());
    if (proposed.hpo_id !== entity.hpo_id) was.push(proposed.hpo_label ?? "no term");
    if (proposed.assertion !== entity.assertion) was.push(ASSERTIONS[proposed.assertion].name.toLowerCase());
  }
  $("was").hidden = was.length === 0;
  $("was").textContent = `The model had said: ${was.join(", ")}.`;
}

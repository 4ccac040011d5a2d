// The dialogs that ask: yes or no, a name, which of two versions, which file.

import * as api from "./api.js";
import { $, fill, make, say } from "./dom.js";
import { changeInWords, inWords } from "./words.js";

for (const button of document.querySelectorAll("dialog [data-close]")) {
  button.addEventListener("click", () => button.closest("dialog").close());
}

// The answer to a question: what was typed (or true), null where the person does not want to.
export function ask({ title, text, yes, label, value }) {
  $("ask-title").textContent = title;
  $("ask-text").textContent = text;
  $("ask-yes").textContent = yes;
  $("ask-field").hidden = label === undefined;
  $("ask-label").textContent = label ?? "";
  $("ask-input").value = value ?? "";
  return new Promise((resolve) => {
    let answer = null;
    const form = $("ask-form");
    form.onsubmit = () => { answer = label === undefined ? true : $("ask-input").value.trim() || null; };
    $("ask").onclose = () => resolve(answer);
    $("ask").showModal();
    (label === undefined ? $("ask-yes") : $("ask-input")).focus();
  });
}

// Both versions, side by side: what the other window made of it, and what this one wanted. True: make mine on top.
export function resolveConflict({ before, now, change, text }) {
  const old = new Map(before.map((item) => [item.key, inWords(item)]));
  const theirs = now.filter((item) => old.get(item.key) !== inWords(item)).map(inWords);
  const there = new Set(now.map((item) => item.key));
  theirs.push(...before.filter((item) => !there.has(item.key)).map((item) => `Gone: ${inWords(item)}`));
  fill($("theirs"), ...(theirs.length ? theirs : ["A change and its undoing: it looks as before."]).map((words) => make("li", { text: words })));
  const item = before.find((one) => one.key === change.item);
  fill($("yours"), make("li", { text: changeInWords(change, item, text) }));
  return new Promise((resolve) => {
    let mine = false;
    $("take-both").onclick = () => { mine = true; $("conflict").close(); };
    $("take-theirs").onclick = () => $("conflict").close();
    $("conflict").onclose = () => resolve(mine);
    $("conflict").showModal();
    $("take-theirs").focus();
  });
}

const FORMATS = {
  corpus: ["Corpus", "JSON lines with the text and the findings, as the project’s training data"],
  csv: ["Table", "CSV, a finding a row; formulas are defused"],
  phenopacket: ["Phenopacket", "GA4GH v2, JSON; denied features are excluded ones"],
  fhir: ["FHIR", "R4 Bundle of Observations, JSON"],
};

export function setUpExport({ status, current, failed }) {
  fill($("formats"), ...status.formats.map((value, n) => make("p", { class: "check" },
    make("input", { type: "radio", name: "format", id: `format-${value}`, value, checked: n === 0 }),
    make("label", { for: `format-${value}` }, make("strong", { text: FORMATS[value][0] }), make("br"), make("span", { class: "soft small", text: FORMATS[value][1] })))));
  const standard = () => ["phenopacket", "fhir"].includes(new FormData($("export-form")).get("format"));
  $("export-form").addEventListener("change", () => { $("quotes-row").hidden = !standard(); });
  $("export-form").addEventListener("submit", async (event) => {
    event.preventDefault();
    const form = new FormData($("export-form")), { id, view } = current();
    try {
      save(await api.exported({
        document: form.has("all") ? null : id, annotator: view.annotator, format: form.get("format"),
        undecided: form.has("undecided"), quotes: form.has("quotes"),
      }));
      $("export").close();
    } catch (problem) {
      $("export").close();
      failed(problem);
    }
  });
}

export function openExport({ view, kept }, blind) {
  const open = view.items.filter((item) => item.status === "proposed").length;
  $("undecided-row").hidden = blind || open === 0;
  $("undecided-label").textContent = open === 1
    ? "With the 1 proposal that nobody has decided on" : `With the ${open} proposals that nobody has decided on`;
  $("all-row").hidden = !kept;
  $("export").showModal();
  $("formats").querySelector("input:checked").focus();
}

function save({ blob, name }) {
  const link = make("a", { href: URL.createObjectURL(blob), download: name });
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 10_000);
  say(`Saved as ${name}`);
}

// The first view: paste a diary, pick one of the journal, compare two annotators.

import * as api from "./api.js";
import { $, fill, make } from "./dom.js";
import { percent } from "./words.js";

const ME = "clario-annotator";

export const annotator = () => localStorage.getItem(ME) ?? "me";
export const setAnnotator = (name) => localStorage.setItem(ME, name);

export function setUpStart({ status, opened, failed }) {
  const kept = status.journal;
  $("keep-row").hidden = !kept;
  $("journal").hidden = !kept;
  $("agreement").hidden = !kept;
  $("privacy").textContent = `It is read on the computer that runs Clario${kept ? ". Unless you keep it in the journal, it" : ", and"} `
    + `stays in its memory only: until you forget it, nobody has used it for ${status.idle_hours} hours, or the server stops.`
    + (status.blind ? " This is a blind review: no proposals are shown." : "");
  $("text").maxLength = 2 * status.longest; // it counts UTF-16 units; the server counts what it takes
  $("paste").addEventListener("submit", (event) => {
    event.preventDefault();
    paste(opened, failed);
  });
  $("text").addEventListener("keydown", (event) => {
    if (event.key === "Enter" && (event.ctrlKey || event.metaKey)) $("paste").requestSubmit();
  });
  $("agree").addEventListener("submit", (event) => {
    event.preventDefault();
    compare(failed);
  });
}

export async function showStart(status, failed) {
  $("annotator").value = annotator();
  $("first").value ||= annotator();
  if (!status.journal) return;
  try {
    const entries = await api.entries(annotator());
    fill($("entries"), ...entries.map((entry) => make("li", {}, make("a", { href: `#${entry.id}` },
      make("span", { class: "day", text: entry.recorded ?? "no date" }),
      make("span", { class: "opening", text: entry.opening }),
      make("span", { class: "soft small", text: entry.finished ? "✓ finished" : "" })))));
    $("no-entries").hidden = entries.length > 0;
  } catch (problem) {
    failed(problem);
  }
}

async function paste(opened, failed) {
  setAnnotator($("annotator").value.trim() || "me");
  $("read").disabled = true;
  $("read").textContent = "Reading …";
  try {
    const document = await api.create({
      text: $("text").value.replaceAll("\r\n", "\n"), recorded: $("recorded").value || null,
      annotator: annotator(), keep: $("keep").checked,
    });
    $("paste").reset();
    opened(document);
  } catch (problem) {
    failed(problem);
  } finally {
    $("read").disabled = false;
    $("read").textContent = "Read it";
  }
}

async function compare(failed) {
  try {
    const figures = await api.agreement({ first: $("first").value.trim(), second: $("second").value.trim() });
    fill($("figures"), table(figures));
  } catch (problem) {
    failed(problem);
  }
}

// The figures of two annotators, as a table.
export function table(figures) {
  const share = (value) => value === null ? "nothing to count" : percent(value);
  const rows = [
    ["Diaries that both finished", String(figures.diaries)], ["Mentions (F1)", share(figures.mentions)],
    ["Same term, where both gave one", share(figures.same_id)], ["Present terms of a diary (F1)", share(figures.documents)],
  ];
  return make("table", {}, make("tbody", {}, ...rows.map(([name, value]) => make("tr", {},
    make("th", { scope: "row", text: name }), make("td", { text: value })))));
}

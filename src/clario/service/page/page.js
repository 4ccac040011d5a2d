// The page: which view is shown, and what leads to what. The address's fragment names the diary; a server never sees it.

import * as api from "./api.js";
import { Diary } from "./diary.js";
import { ask, openExport, resolveConflict, setUpExport } from "./dialogs.js";
import { $, fill, make, say } from "./dom.js";
import { setUpEditor, showEditor } from "./editor.js";
import { showFindings } from "./findings.js";
import { setUpKeys } from "./keys.js";
import { Picker } from "./picker.js";
import { Review } from "./review.js";
import { annotator, setAnnotator, setUpStart, showStart, table } from "./start.js";
import { ASSERTIONS, STATES, TYPES, hasTerm, inWords, isSettled } from "./words.js";

let status = null;
let missed = null; // the selected stretch, in code points
let shownAgreement = "";

const review = new Review({ changed: draw, conflict: resolveConflict, failed });
const diary = new Diary($("diary"), {
  picked: (key) => { review.select(key); $("list").focus({ preventScroll: true }); },
  chosen: offerMissed, taken: addMissed, left: () => $("list").focus({ preventScroll: true }),
});
const picker = new Picker(failed);

// ---- telling ----

let retry = null;

function failed(problem, again = null) {
  retry?.(false);
  retry = again;
  $("problem-text").textContent = problem.message + (again && problem.status !== 409 ? " Your change is not kept yet." : "");
  $("problem-retry").hidden = !again || problem.status === 422 || problem.status === 409;
  $("problem").hidden = false;
}

function closeProblem(again) {
  $("problem").hidden = true;
  const answer = retry;
  retry = null;
  answer?.(again);
}

// ---- drawing ----

function draw() {
  const { document: shown, items, item } = review;
  if (!shown) return;
  const { view } = shown;
  diary.show(review.text, items, status.unsure_below, review.selected);
  showFindings(items, review.selected, status.unsure_below, (key) => go(() => review.select(key)));
  showEditor(item, shown.labels, change);
  document.body.classList.toggle("editing", Boolean(item));
  $("undo").disabled = !view.can_undo;
  $("redo").disabled = !view.can_redo;
  $("finish").setAttribute("aria-pressed", String(view.finished));
  $("keep-now").hidden = shown.kept || !status.journal;
  $("forget").hidden = shown.kept;
  $("nothing").hidden = items.length > 0;
  $("nothing").textContent = status.blind ? "Mark what you see: select words in the diary, or press m."
    : shown.read ? "Nothing was found. Select words in the diary to mark what was missed." : "No model has read this entry yet.";
  showFacts(shown);
}

function showFacts({ view, recorded, kept, read, others }) {
  const facts = [
    recorded && `Written on ${recorded}`, view.ts_event_hint && view.ts_event_hint !== recorded && `Tells of ${view.ts_event_hint}`,
    status.blind ? "Blind review" : view.model && `Read by ${view.model}`, `HPO ${view.hpo_release}`,
    kept ? "In the journal" : "In the server’s memory only",
  ].filter(Boolean);
  const name = make("button", { type: "button", class: "link", text: view.annotator, "aria-label": `You are ${view.annotator}. Change the name`, onclick: rename });
  fill($("facts"), `${facts.join(" · ")} · by `, name);
  if (!read && !status.blind) $("facts").append(" ", make("button", { type: "button", class: "link", text: "Let Clario read it", onclick: readNow }));
  for (const warning of view.warnings) $("facts").append(make("span", { class: "tag warn", text: warning }));
  if (others.join() !== shownAgreement) showAgreement(others);
}

async function showAgreement(others) {
  shownAgreement = others.join();
  const { id, view } = review.document;
  const found = await Promise.all(others.map((second) => api.agreement({ first: view.annotator, second, document: id })));
  fill($("with-others"), ...found.map((figures, n) => make("details", { class: "legend" },
    make("summary", { text: `Agreement with ${others[n]} on this diary` }), table(figures))));
}

function show(name) {
  for (const view of ["start", "review"]) $(view).hidden = view !== name;
  $("home").hidden = name === "start";
  closeProblem(false);
  document.body.classList.toggle("editing", false);
}

function legend() {
  const mark = (kind, before, after, words) => {
    const sample = make("mark", { class: kind, text: words });
    if (before) sample.dataset.before = before;
    if (after) sample.dataset.after = after;
    return make("li", {}, sample);
  };
  const types = Object.entries(TYPES).map(([type, { name, letter }]) => mark(`t-${type} a-present s-accepted`, letter, "", name));
  const told = Object.entries(ASSERTIONS).map(([value, { name, tag }]) => mark(`t-symptom a-${value} s-accepted`, "", tag, name));
  const states = Object.entries(STATES).map(([value, { name, sign }]) => mark(`t-symptom a-present s-${value}`, "", sign, name));
  states.push(mark("t-symptom a-present s-proposed unsure", "", "?", "Unsure"));
  fill($("legend"), ...[types, told, states].map((items) => make("ul", { class: "samples" }, ...items)));
}

// ---- doing ----

async function change(given) {
  const item = review.item;
  if (!item) return;
  if (given.action === "accept" && isSettled(item)) return say("It stands already");
  if (await review.change({ ...given, item: item.key })) say(review.item ? inWords(review.item) : "Kept");
}

async function step(action, words) {
  if (await review.change({ action })) say(words);
}

async function moveSpan(which, by) {
  const { key } = review.item;
  const kept = await review.change(() => {
    const entity = review.items.find((item) => item.key === key)?.entity;
    const to = entity && review.text.moved(entity.start, entity.end, which, by);
    return to && { action: "span", item: key, start: to[0], end: to[1] };
  });
  say(kept && review.item ? inWords(review.item) : "It cannot go further");
}

async function changeTerm() {
  const item = review.item;
  if (!item) return;
  if (!hasTerm(item.entity.type)) return say("Things of this type have no HPO term");
  const { name_colloquial: quote, hpo_label: label } = item.entity;
  const term = await picker.choose(quote, label ?? quote);
  $("list").focus({ preventScroll: true });
  if (term && term.hpo_id !== item.entity.hpo_id) change({ action: "term", hpo_id: term.hpo_id, label: term.label });
}

function offerMissed(range) {
  missed = range;
  $("missed").hidden = !range;
  if (range) $("missed-quote").textContent = review.text.slice(...range);
}

async function addMissed(range = missed) {
  if (!range) return;
  const [start, end] = range;
  const known = new Set(review.items.map((item) => item.key));
  getSelection().removeAllRanges();
  if (!await review.change({ action: "add", type: "symptom", start, end })) return;
  const added = review.items.find((item) => !known.has(item.key));
  if (added) review.select(added.key);
  $("list").focus({ preventScroll: true });
  say(`Added. ${added ? inWords(added) : ""}`);
}

function finish() {
  const done = !review.document.view.finished;
  step(done ? "finish" : "reopen", done ? "Finished" : "Not finished");
}

async function rename() {
  const name = await ask({ title: "Who reviews?", text: "Each person has a review of their own, and does not see those of others.", yes: "Go on", label: "Your name or initials", value: annotator() });
  if (name === null) return;
  setAnnotator(name.slice(0, 60));
  open(review.document.id);
}

async function readNow() {
  try { review.take(await api.read(review.document.id, annotator())); } catch (problem) { failed(problem); }
}

async function keepNow() {
  try { opened(await api.keep(review.document.id, annotator())); say("Kept in the journal"); } catch (problem) { failed(problem); }
}

async function forget() {
  const sure = await ask({ title: "Forget this diary?", text: "The diary and your review of it leave the server’s memory. This cannot be undone; export it first if you need it.", yes: "Forget it" });
  if (!sure) return;
  try {
    await api.forget(review.document.id);
    location.hash = "";
    say("Forgotten");
  } catch (problem) { failed(problem); }
}

// ---- views ----

function opened(shown) {
  show("review");
  shownAgreement = "";
  fill($("with-others"));
  review.selected = null;
  review.take(shown);
  if (location.hash !== `#${shown.id}`) history.pushState(null, "", `#${shown.id}`);
  $("review-title").focus();
}

async function open(id) {
  try {
    opened(await api.load(id, annotator()));
  } catch (problem) {
    history.replaceState(null, "", location.pathname);
    await home();
    failed(problem);
  }
}

async function home() {
  review.close();
  show("start");
  await showStart(status, failed);
  $("text").focus();
}

const route = () => {
  const id = decodeURIComponent(location.hash.slice(1));
  if (/^[dj]\../.test(id)) return id === review.document?.id ? undefined : open(id);
  return id === "main" ? undefined : home();
};

// Choose a finding, and bring its mark into sight; what has the focus keeps it.
function go(choose) {
  choose();
  diary.reveal();
  if (review.item) say(inWords(review.item));
}

function leave() {
  review.select(null);
  $("list").focus({ preventScroll: true });
}

const here = (act) => (event) => review.document ? act(event) : false;
const chosen = (act) => here((event) => review.item ? act(event) : false);
const press = (id) => here(() => { if (!$(id).disabled) $(id).click(); });

const ACTIONS = {
  j: here(() => go(() => review.step(1))), k: here(() => go(() => review.step(-1))),
  ArrowDown: here(() => go(() => review.step(1))), ArrowUp: here(() => go(() => review.step(-1))),
  Home: here(() => review.items.length && review.select(review.items[0].key)),
  End: here(() => review.items.length && review.select(review.items.at(-1).key)),
  a: chosen(() => change({ action: "accept" })), r: chosen(() => change({ action: "reject" })),
  t: chosen(changeTerm), y: chosen(() => $("type").focus()),
  "[": chosen(() => moveSpan("start", -1)), "{": chosen(() => moveSpan("start", 1)),
  "]": chosen(() => moveSpan("end", 1)), "}": chosen(() => moveSpan("end", -1)),
  m: here(() => diary.begin()), z: press("undo"), Z: press("redo"), f: press("finish"), x: press("open-export"),
  "?": () => $("help").showModal(),
  Escape: chosen(leave),
};
Object.keys(ASSERTIONS).forEach((assertion, n) => {
  ACTIONS[String(n + 1)] = chosen(() => change({ action: "assertion", assertion }));
});

async function begin() {
  try {
    status = await api.status();
  } catch (problem) {
    return failed(problem, (again) => again && begin());
  }
  setUpStart({ status, opened, failed });
  setUpExport({ status, current: () => review.document, failed });
  setUpEditor({ change, changeTerm, close: leave, moveSpan, step: (by) => go(() => review.step(by)) });
  setUpKeys(ACTIONS);
  legend();
  $("undo").addEventListener("click", () => step("undo", "Undone"));
  $("redo").addEventListener("click", () => step("redo", "Done again"));
  $("finish").addEventListener("click", finish);
  $("open-export").addEventListener("click", () => openExport(review.document, status.blind));
  $("keep-now").addEventListener("click", keepNow);
  $("forget").addEventListener("click", forget);
  // A press must not take the selection away before it is used.
  $("missed").addEventListener("pointerdown", (event) => event.preventDefault());
  $("add").addEventListener("click", () => addMissed());
  $("add-no").addEventListener("click", () => getSelection().removeAllRanges());
  $("home").addEventListener("click", () => { location.hash = ""; });
  addEventListener("hashchange", route);
  addEventListener("popstate", route);
  addEventListener("focus", async () => {
    try { if (await review.refresh()) say("Brought up to date: another window had changed it"); } catch { /* the next change will tell */ }
  });
  addEventListener("beforeunload", (event) => { if (review.busy) event.preventDefault(); });
  await route();
}

$("open-help").addEventListener("click", () => $("help").showModal());
$("problem-retry").addEventListener("click", () => closeProblem(true));
$("problem-close").addEventListener("click", () => closeProblem(false));
begin();

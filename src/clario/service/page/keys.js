// The keyboard. Single letters can be switched off, for those who speak to their computer (WCAG 2.1.4).

import { $, fill, make } from "./dom.js";

const OFF = "clario-no-keys";
const HELP = [
  ["j  k", "next, previous finding (or the arrows in the list)"],
  ["a", "accept"], ["r", "reject"], ["t", "change the term: type, arrows, Enter"],
  ["1 … 5", "present, past, absent, somebody else, possible"],
  ["y", "choose the type"],
  ["[  {", "start a word earlier, later"], ["]  }", "end a word later, earlier"],
  ["m", "mark what was missed: arrows for words, with Shift more, Enter"],
  ["z  Z", "undo, redo (also Ctrl+Z, Ctrl+Shift+Z)"],
  ["f", "finished, or not yet"], ["x", "export"], ["?", "this help"], ["Esc", "close, or leave the finding"],
];

export function setUpKeys(actions) {
  const box = $("single-keys");
  box.checked = localStorage.getItem(OFF) === null;
  box.addEventListener("change", () => {
    if (box.checked) localStorage.removeItem(OFF); else localStorage.setItem(OFF, "1");
  });
  fill($("keys"), ...HELP.flatMap(([keys, what]) => [
    make("dt", {}, ...keys.split("  ").flatMap((key, n) => [n ? " " : "", make("kbd", { text: key })])), make("dd", { text: what }),
  ]));
  document.addEventListener("keydown", (event) => {
    const key = actionOf(event);
    if (!key || !actions[key]) return;
    if (actions[key](event) !== false) event.preventDefault();
  });
}

function actionOf(event) {
  if (document.querySelector("dialog[open]") || event.altKey || event.isComposing) return null;
  const typing = event.target.closest?.("input:not([type=radio], [type=checkbox]), textarea, select");
  if (event.ctrlKey || event.metaKey) {
    const key = event.key.toLowerCase();
    if (typing) return null;
    if (key === "z") return event.shiftKey ? "Z" : "z";
    return key === "y" ? "Z" : null;
  }
  if (event.key === "Escape") return "Escape";
  if (event.target.closest?.("#list") && ["ArrowDown", "ArrowUp", "Home", "End"].includes(event.key)) return event.key;
  return typing || !$("single-keys").checked || event.key.length !== 1 ? null : event.key;
}

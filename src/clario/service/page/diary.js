// The diary's text with its marks, and the choosing of words in it by mouse, finger or keyboard.

import { make, say } from "./dom.js";
import { ASSERTIONS, STATES, TYPES } from "./words.js";

export class Diary {
  // `picked(key)` is called when a mark is clicked, `chosen([start, end] | null)` when words are selected.
  constructor(node, { picked, chosen, taken, left }) {
    Object.assign(this, { node, picked, chosen, taken, left, text: null, word: null });
    node.addEventListener("click", (event) => this.#click(event));
    document.addEventListener("selectionchange", () => this.#selected());
    node.addEventListener("keydown", (event) => this.#key(event));
  }

  show(text, items, unsureBelow, selected) {
    const before = this.text;
    this.text = text;
    this.items = items;
    const cuts = new Set([0, text.length]);
    for (const { entity } of items) cuts.add(entity.start).add(entity.end);
    const bounds = [...cuts].sort((a, b) => a - b);
    const parts = [];
    for (let n = 0; n + 1 < bounds.length; n++) parts.push(this.#part(bounds[n], bounds[n + 1], unsureBelow));
    const words = this.text === before && this.range(); // what is being selected outlives the drawing
    this.node.replaceChildren(...parts);
    if (words) this.#mark(...words);
    this.select(selected);
  }

  #part(start, end, unsureBelow) {
    const words = this.text.slice(start, end);
    const over = this.items.filter(({ entity }) => entity.start < end && entity.end > start);
    if (over.length === 0) return document.createTextNode(words);
    // Where marks lie over each other, the shortest is what a click means.
    over.sort((a, b) => (b.entity.end - b.entity.start) - (a.entity.end - a.entity.start));
    const top = over.at(-1), { entity } = top;
    const unsure = top.status === "proposed" && entity.confidence < unsureBelow;
    const mark = make("mark", {
      class: `t-${entity.type} a-${entity.assertion} s-${top.status}${unsure ? " unsure" : ""}${over.length > 1 ? " inner" : ""}`,
      "data-keys": over.map((item) => item.key).join(" "), "data-top": top.key, text: words,
    });
    if (entity.start === start) mark.dataset.before = TYPES[entity.type].letter;
    const signs = [unsure ? "?" : "", ASSERTIONS[entity.assertion].tag, STATES[top.status].sign].filter(Boolean);
    if (entity.end === end && signs.length) mark.dataset.after = signs.join(" ");
    return mark;
  }

  select(key) {
    for (const mark of this.node.querySelectorAll("mark")) {
      mark.classList.toggle("selected", mark.dataset.keys.split(" ").includes(key ?? ""));
    }
  }

  reveal() {
    this.node.querySelector("mark.selected")?.scrollIntoView({ block: "nearest", behavior: "instant" });
  }

  #click(event) {
    const mark = event.target.closest?.("mark");
    if (mark && getSelection().isCollapsed) this.picked(mark.dataset.top);
  }

  // The selected stretch in code points; null where nothing of the diary is selected.
  range() {
    const selection = getSelection();
    if (!this.text || selection.isCollapsed || !selection.rangeCount) return null;
    const range = selection.getRangeAt(0);
    if (!this.node.contains(range.startContainer) || !this.node.contains(range.endContainer)) return null;
    const before = document.createRange();
    before.setStart(this.node, 0);
    before.setEnd(range.startContainer, range.startOffset);
    const start = before.toString().length;
    return this.text.trimmed(this.text.pointAt(start), this.text.pointAt(start + range.toString().length));
  }

  #selected() {
    if (this.node.isConnected && this.text) this.chosen(this.range());
  }

  // The keyboard: a word, and with Shift more words, as the browser's own selection.
  begin() {
    this.node.focus();
    const at = this.items.find((item) => this.node.querySelector("mark.selected")?.dataset.keys.includes(item.key));
    const from = at ? at.entity.end : 0;
    const first = this.text.words.findIndex(([start]) => start >= from);
    this.#put(first < 0 ? 0 : first, first < 0 ? 0 : first);
  }

  #put(anchor, head) {
    const { words } = this.text;
    if (!words.length) return;
    this.word = { anchor, head };
    const [low, high] = [Math.min(anchor, head), Math.max(anchor, head)];
    const range = this.#mark(words[low][0], words[high][1]);
    range.startContainer.parentElement.scrollIntoView({ block: "nearest" });
    say(this.text.slice(words[low][0], words[high][1]));
  }

  #mark(start, end) {
    const range = document.createRange();
    range.setStart(...this.#place(start));
    range.setEnd(...this.#place(end));
    getSelection().removeAllRanges();
    getSelection().addRange(range);
    return range;
  }

  #place(point) {
    let left = this.text.units[point];
    const walk = document.createTreeWalker(this.node, NodeFilter.SHOW_TEXT);
    for (let node = walk.nextNode(); node; node = walk.nextNode()) {
      if (left <= node.length) return [node, left];
      left -= node.length;
    }
    return [this.node, this.node.childNodes.length];
  }

  #key(event) {
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    if (event.key === "Escape") return this.end();
    if (event.key === "Enter" && this.range()) {
      event.preventDefault();
      return this.taken(this.range());
    }
    const by = { ArrowRight: 1, ArrowDown: 1, ArrowLeft: -1, ArrowUp: -1 }[event.key];
    if (!by) return;
    event.preventDefault();
    if (this.word === null || getSelection().isCollapsed) return this.begin();
    const head = Math.min(this.text.words.length - 1, Math.max(0, this.word.head + by));
    this.#put(event.shiftKey ? this.word.anchor : head, head);
  }

  end() {
    this.word = null;
    getSelection().removeAllRanges();
    this.left();
  }
}

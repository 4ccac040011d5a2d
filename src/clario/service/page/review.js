// One diary under review: its newest version, and the changes on their way to the server, one after the other.

import * as api from "./api.js";
import { Text } from "./text.js";

export class Review {
  #queue = Promise.resolve();
  #under = 0;

  // `changed()` draws anew; `conflict(given)` asks which version is to stand; `failed(problem, again)` tells.
  constructor({ changed, conflict, failed }) {
    Object.assign(this, { changed, conflict, failed, document: null, selected: null });
  }

  get items() { return this.document?.view.items ?? []; }
  get item() { return this.items.find((item) => item.key === this.selected) ?? null; }
  get busy() { return this.#under > 0; }

  take(document) {
    if (this.document?.text !== document.text || !this.text) this.text = new Text(document.text);
    const before = this.selected;
    this.document = document;
    if (!this.items.some((item) => item.key === before)) this.selected = null;
    this.changed();
  }

  close() {
    Object.assign(this, { document: null, selected: null, text: null });
  }

  select(key) {
    this.selected = key;
    this.changed();
  }

  step(by) {
    if (!this.items.length) return;
    const at = this.items.findIndex((item) => item.key === this.selected);
    const next = at < 0 ? (by > 0 ? 0 : this.items.length - 1) : Math.min(this.items.length - 1, Math.max(0, at + by));
    this.select(this.items[next].key);
  }

  // Make a change; what it answers is true once the server has kept it. A function is asked when its turn has come,
  // for a change that builds on the one before; null is none.
  change(change) {
    this.#under++;
    const done = this.#queue.then(() => this.#send(change)).finally(() => { this.#under--; });
    this.#queue = done.catch(() => {});
    return done;
  }

  async #send(change) {
    const { document } = this;
    if (typeof change === "function") change = document && change();
    if (!document || !change) return false;
    const { label, ...sent } = change;
    try {
      const { view } = document;
      this.take(await api.change(document.id, { annotator: view.annotator, version: view.version, change: sent }));
      return true;
    } catch (problem) {
      if (problem.code === "stale" || problem.code === "gone") return this.#stale(problem, change);
      // It stays at hand until the server has it, or the person gives it up.
      return new Promise((resolve) => {
        this.failed(problem, (again) => resolve(again ? this.#send(change) : false));
      });
    }
  }

  async #stale(problem, change) {
    const before = this.document.view.items, now = problem.body.document;
    const mine = problem.code === "stale" && await this.conflict({
      before, now: now.view.items, change, text: this.text,
    });
    this.take(now);
    if (problem.code === "gone") this.failed(problem, () => {});
    return mine ? this.#send(change) : false;
  }

  // What another window made of it meanwhile; true where there is something new.
  async refresh() {
    if (!this.document || this.busy) return false;
    const { id, view } = this.document;
    const newest = await api.load(id, view.annotator);
    if (this.busy || this.document?.id !== id || newest.view.version === this.document.view.version) return false;
    this.take(newest);
    return true;
  }
}

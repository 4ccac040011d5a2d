// The dialog that looks a term up: by name or in plain words, with the terms around it.

import * as api from "./api.js";
import { $, fill, make } from "./dom.js";

const PAUSE = 160; // milliseconds without a key before a search is made

export class Picker {
  #done = null; #hits = []; #at = -1; #term = null; #turn = 0; #timer = 0;

  // `failed(problem)` tells the person what went wrong.
  constructor(failed) {
    this.failed = failed;
    $("search").addEventListener("input", () => this.#soon());
    $("search").addEventListener("keydown", (event) => this.#key(event));
    $("choose").addEventListener("click", () => this.#finish(this.#term));
    $("no-term").addEventListener("click", () => this.#finish({ hpo_id: null, label: "none" }));
    $("picker").addEventListener("close", () => this.#finish(undefined));
  }

  // The term that a person chooses: {hpo_id, label}, with a null id where none fits; undefined if it is left as it is.
  choose(quote, query) {
    $("picker-quote").textContent = quote;
    $("search").value = query;
    this.#show([]);
    $("picker").showModal();
    $("search").focus();
    $("search").select();
    this.#search();
    return new Promise((resolve) => { this.#done = resolve; });
  }

  #finish(answer) {
    clearTimeout(this.#timer);
    this.#turn++;
    const done = this.#done;
    this.#done = null;
    if ($("picker").open) $("picker").close();
    done?.(answer);
  }

  #soon() {
    clearTimeout(this.#timer);
    this.#timer = setTimeout(() => this.#search(), PAUSE);
  }

  async #search() {
    const query = $("search").value.trim(), turn = ++this.#turn;
    if (!query) return this.#show([]);
    if (!this.#hits.length) $("no-hits").textContent = "Searching …";
    try {
      const hits = await api.search(query);
      if (turn === this.#turn) this.#show(hits, query);
    } catch (problem) {
      this.failed(problem);
    }
  }

  #show(hits, query = "") {
    this.#hits = hits;
    fill($("hits"), ...hits.map((hit, n) => make("li", {
      role: "option", id: `hit-${n}`, "aria-selected": "false", onclick: () => this.#go(n), ondblclick: () => this.#finish(hit),
    }, make("span", { class: "label", text: hit.label }), make("span", {
      class: "soft small", text: hit.name === hit.label || hit.name === hit.hpo_id ? hit.hpo_id : `“${hit.name}” · ${hit.hpo_id}`,
    }))));
    $("search").setAttribute("aria-expanded", String(hits.length > 0));
    $("no-hits").textContent = query && !hits.length ? "Nothing found. Try other words, or one of the body part." : "";
    this.#at = -1;
    $("around").hidden = true;
    this.#set(null);
    if (hits.length) this.#go(0);
  }

  #set(term) {
    this.#term = term;
    $("choose").disabled = term === null;
  }

  #go(n) {
    $(`hit-${this.#at}`)?.setAttribute("aria-selected", "false");
    this.#at = n;
    const row = $(`hit-${n}`);
    row.setAttribute("aria-selected", "true");
    row.scrollIntoView({ block: "nearest" });
    $("search").setAttribute("aria-activedescendant", row.id);
    this.#look(this.#hits[n]);
  }

  // Show a term with what stands above and below it; those can be gone to in turn.
  async #look({ hpo_id, label }) {
    this.#set({ hpo_id, label });
    try {
      const term = await api.term(hpo_id);
      if (this.#term?.hpo_id !== hpo_id) return;
      $("around").hidden = false;
      fill($("around-name"), term.label, " ", make("span", { class: "id", text: term.hpo_id }));
      $("around-definition").textContent = term.definition || "No definition.";
      this.#links("parents", term.parents.filter((parent) => parent.hpo_id !== "HP:0000001"));
      this.#links("children", term.children);
    } catch (problem) {
      this.failed(problem);
    }
  }

  #links(id, terms) {
    const links = terms.map((term) => make("li", {}, make("button", {
      type: "button", class: "link", text: term.label, onclick: () => this.#follow(term),
    })));
    fill($(id), ...(links.length ? links : [make("li", { class: "soft", text: "none" })]));
  }

  #follow(term) {
    $(`hit-${this.#at}`)?.setAttribute("aria-selected", "false");
    this.#at = -1;
    $("search").removeAttribute("aria-activedescendant");
    this.#look(term);
  }

  #key(event) {
    const by = { ArrowDown: 1, ArrowUp: -1 }[event.key];
    if (by && this.#hits.length) {
      event.preventDefault();
      this.#go((this.#at + by + this.#hits.length) % this.#hits.length);
    } else if (event.key === "Enter") {
      event.preventDefault();
      if (this.#term) this.#finish(this.#term);
    }
  }
}

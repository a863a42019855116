/**
 * Pages: a list of which one page is seen, the way to the next one and the way back.
 *
 * In      what a form asks for, answers that say where the next page begins
 * Out     one page at a time, and which of the buttons lead anywhere
 * Bounds  one page
 */
import { get } from "./api.js";
import { at } from "./dom.js";

export class Pages {
  #name;
  #list;
  #befores = [];
  #after = "";
  // What the form said when the first page was asked for: a cursor belongs to its question.
  #query;
  #next = null;
  #asked = 0;

  /**
   * Its elements have ids that begin with `name`. The list says the `path` to ask, the `choices` that begin anew when
   * they change, what the form's `query` is, and how to `show` an answer; `failed` is told of what goes wrong.
   */
  constructor(name, list) {
    this.#name = name;
    this.#list = list;
    at(`${name}-form`).addEventListener("submit", (event) => {
      event.preventDefault();
      this.#first();
    });
    for (const id of list.choices) at(id).addEventListener("change", () => this.#first());
    at(`${name}-next`).addEventListener("click", () => {
      this.#befores.push(this.#after);
      this.#after = this.#next;
      this.refresh();
    });
    at(`${name}-back`).addEventListener("click", () => {
      this.#after = this.#befores.pop() ?? "";
      this.refresh();
    });
  }

  #first() {
    this.#befores = [];
    this.#after = "";
    this.#query = undefined;
    return this.refresh();
  }

  async refresh() {
    const asked = ++this.#asked;
    this.#query ??= this.#list.query();
    const query = { ...this.#query, after: this.#after };
    try {
      const answer = await get(this.#list.path, query);
      // An answer that was overtaken is nobody's.
      if (asked !== this.#asked) return;
      this.#next = answer.next;
      at(`${this.#name}-next`).disabled = answer.next === null;
      at(`${this.#name}-back`).disabled = this.#befores.length === 0;
      this.#list.show(answer, query);
    } catch (error) {
      this.#list.failed(error, at(`${this.#name}-note`));
    }
  }
}

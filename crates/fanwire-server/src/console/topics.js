/**
 * Topics: which there are, and how many are subscribed to each.
 *
 * In      /api/topics, asked every few seconds while it is seen
 * Out     a page of a table
 * Bounds  the rows that are asked for, at most 500
 */
import { get } from "./api.js";
import { bar, fill } from "./bars.js";
import { at, emptyRow, keyed, make, rowHead, write } from "./dom.js";
import { whole } from "./figures.js";

export class Topics {
  #befores = [];
  #after = "";
  #next = null;
  #asked = 0;
  #failed;

  /** `failed` is told of what goes wrong. */
  constructor(failed) {
    this.#failed = failed;
    at("topic-form").addEventListener("submit", (event) => {
      event.preventDefault();
      this.#first();
    });
    for (const id of ["topic-order", "topic-limit"]) at(id).addEventListener("change", () => this.#first());
    at("topic-next").addEventListener("click", () => {
      this.#befores.push(this.#after);
      this.#after = this.#next;
      this.refresh();
    });
    at("topic-back").addEventListener("click", () => {
      this.#after = this.#befores.pop() ?? "";
      this.refresh();
    });
  }

  #first() {
    this.#befores = [];
    this.#after = "";
    return this.refresh();
  }

  async refresh() {
    const asked = ++this.#asked;
    const order = at("topic-order").value;
    const query = {
      order,
      prefix: at("topic-prefix").value,
      limit: at("topic-limit").value,
      after: this.#after,
    };
    try {
      const answer = await get("api/topics", query);
      // An answer that was overtaken is nobody's.
      if (asked === this.#asked) this.#show(answer, order);
    } catch (error) {
      this.#failed(error, at("topic-note"));
    }
  }

  #show({ topics, next }, order) {
    this.#next = next;
    at("topic-next").disabled = next === null;
    at("topic-back").disabled = this.#befores.length === 0;
    const limit = Number(at("topic-limit").value);
    const more =
      order === "subscribers" && topics.length === limit ? ": the largest; sort by name to see all" : "";
    write(
      at("topic-note"),
      `${whole(topics.length)} ${topics.length === 1 ? "topic" : "topics"} shown${more}`,
    );
    const body = at("topic-table").tBodies[0];
    if (topics.length === 0) return emptyRow(body, 3, "No topic has subscribers here.");
    const max = Math.max(...topics.map((one) => one.subscribers));
    const create = ({ topic }) => {
      const cell = make("td", "wide", bar());
      return make("tr", "", rowHead("name", topic), make("td", "number"), cell);
    };
    keyed(
      body,
      topics,
      ({ topic }) => `=${topic}`,
      create,
      (row, { subscribers }) => {
        write(row.children[1], whole(subscribers));
        fill(row.children[2].firstElementChild, subscribers, max);
      },
    );
  }
}

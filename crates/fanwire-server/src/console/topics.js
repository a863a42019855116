/**
 * Topics: which there are, and how many are subscribed to each.
 *
 * In      /api/topics, asked every few seconds while it is seen
 * Out     a page of a table
 * Bounds  the rows that are asked for, at most 500
 */
import { bar, fill } from "./bars.js";
import { at, emptyRow, keyed, make, rowHead, write } from "./dom.js";
import { whole } from "./figures.js";
import { Pages } from "./pages.js";

export class Topics {
  #pages;

  /** `failed` is told of what goes wrong. */
  constructor(failed) {
    this.#pages = new Pages("topic", {
      path: "api/topics",
      choices: ["topic-order", "topic-limit"],
      query: () => ({
        order: at("topic-order").value,
        prefix: at("topic-prefix").value,
        limit: at("topic-limit").value,
      }),
      show,
      failed,
    });
  }

  refresh() {
    return this.#pages.refresh();
  }
}

function show({ topics }, { order, limit }) {
  const more =
    order === "subscribers" && topics.length === Number(limit) ? ": the largest; sort by name to see all" : "";
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

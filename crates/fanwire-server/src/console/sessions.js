/**
 * Sessions: who is connected, what waits for them, and an end to one that has to go.
 *
 * In      /api/sessions, asked every few seconds while it is seen
 * Out     a page of a table; POST /api/disconnect once it is confirmed
 * Bounds  the rows that are asked for, at most 500
 */
import { get } from "./api.js";
import { confirmDisconnect, showSession } from "./dialogs.js";
import { at, emptyRow, keyed, make, rowHead, write } from "./dom.js";
import { bytes, whole } from "./figures.js";

export class Sessions {
  #befores = [];
  #after = "";
  #next = null;
  #asked = 0;
  #failed;

  /** `failed` is told of what goes wrong. */
  constructor(failed) {
    this.#failed = failed;
    at("session-form").addEventListener("submit", (event) => {
      event.preventDefault();
      this.#first();
    });
    at("session-limit").addEventListener("change", () => this.#first());
    at("session-next").addEventListener("click", () => {
      this.#befores.push(this.#after);
      this.#after = this.#next;
      this.refresh();
    });
    at("session-back").addEventListener("click", () => {
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
    const query = {
      user: at("session-user").value,
      topic: at("session-topic").value,
      limit: at("session-limit").value,
      after: this.#after,
    };
    try {
      const answer = await get("api/sessions", query);
      // An answer that was overtaken is nobody's.
      if (asked === this.#asked) this.#show(answer);
    } catch (error) {
      this.#failed(error, at("session-note"));
    }
  }

  #show({ sessions, next }) {
    this.#next = next;
    at("session-next").disabled = next === null;
    at("session-back").disabled = this.#befores.length === 0;
    const more = next === null ? "" : "; there may be more on the next page";
    write(
      at("session-note"),
      `${whole(sessions.length)} ${sessions.length === 1 ? "session" : "sessions"} shown${more}`,
    );
    const body = at("session-table").tBodies[0];
    if (sessions.length === 0) return emptyRow(body, 10, "No open session here.");
    keyed(
      body,
      sessions,
      (one) => one.session,
      (one) => this.#row(one),
      (row, one) => {
        const { messages, bytes: waiting, dropped, blocked } = one.queued;
        const texts = [
          one.user ?? "–",
          one.peer,
          whole(one.shard),
          whole(one.topics),
          whole(messages),
          bytes(waiting),
        ];
        [...texts, whole(dropped), blocked ? "blocked" : "open"].forEach((text, index) =>
          write(row.children[index + 1], text),
        );
      },
    );
  }

  #row(one) {
    const open = make("button", "link", one.session.slice(0, 12), "…");
    open.type = "button";
    open.title = one.session;
    open.setAttribute("aria-label", `Details of session ${one.session}`);
    open.addEventListener("click", () =>
      showSession(one.session).catch((error) => this.#failed(error, at("session-note"))),
    );
    const end = make("button", "small danger", "Disconnect");
    end.type = "button";
    end.setAttribute("aria-label", `Disconnect session ${one.session}`);
    end.addEventListener("click", () => this.#end(one));
    const numbers = [0, 1, 2, 3, 4].map(() => make("td", "number"));
    return make(
      "tr",
      "",
      rowHead("", open),
      make("td", "name"),
      make("td", "name"),
      ...numbers,
      make("td"),
      make("td", "number", end),
    );
  }

  async #end(one) {
    if (await confirmDisconnect(one)) {
      await this.refresh();
      at("session-table").closest(".scroll").focus();
    }
  }
}

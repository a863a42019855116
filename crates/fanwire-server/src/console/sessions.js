/**
 * Sessions: who is connected, what waits for them, and an end to one that has to go.
 *
 * In      /api/sessions, asked every few seconds while it is seen
 * Out     a page of a table; POST /api/disconnect once it is confirmed
 * Bounds  the rows that are asked for, at most 500
 */
import { confirmDisconnect, showSession } from "./dialogs.js";
import { at, emptyRow, keyed, make, rowHead, write } from "./dom.js";
import { bytes, whole } from "./figures.js";
import { Pages } from "./pages.js";

export class Sessions {
  #pages;
  #failed;

  /** `failed` is told of what goes wrong. */
  constructor(failed) {
    this.#failed = failed;
    this.#pages = new Pages("session", {
      path: "api/sessions",
      choices: ["session-limit"],
      query: () => ({
        user: at("session-user").value,
        topic: at("session-topic").value,
        limit: at("session-limit").value,
      }),
      show: (answer) => this.#show(answer),
      failed,
    });
  }

  refresh() {
    return this.#pages.refresh();
  }

  #show({ sessions, next }) {
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

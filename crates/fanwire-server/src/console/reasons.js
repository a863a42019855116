/**
 * Drops and closes: what went wrong, and why.
 *
 * In      the history
 * Out     a table per kind, a row per reason; those that have not happened only if they are asked for
 */
import { bar, fill } from "./bars.js";
import { at, keyed, make, rowHead, write } from "./dom.js";
import { whole } from "./figures.js";

/** Counters of messages that a session did not get. */
export const DROPS = [
  ["frames_dropped_newest", "Newest", "the queue was full: this one was left out"],
  ["frames_dropped_oldest", "Oldest", "the queue was full: another made room"],
  ["frames_dropped_closed", "Closed", "the session ended before they were sent"],
  ["frames_refused_memory", "Memory", "all frames together had reached frame_bytes_max"],
];

const CLOSES = [
  ["peer", "Peer", "the client closed"],
  ["server", "Server", "this server closed: by the API, or for a token that ended"],
  ["queue_full", "Queue full", "the client read too slowly (1013)"],
  ["eof", "End of stream", "the connection ended without a close frame"],
  ["reset", "Reset", "the connection was reset"],
  ["violation", "Violation", "the client broke the protocol or a limit"],
  ["idle", "Idle", "nothing was heard, not even a pong"],
  ["panic", "Panic", "a hook of the program panicked (1011)"],
  ["shutdown", "Shutdown", "the server ended (1001)"],
];

const REFUSALS = [
  ["refused_malformed", "Malformed", "no request that could be read (400)"],
  ["refused_head_too_large", "Head too large", "too many or too long headers (414, 431)"],
  ["refused_method", "Method", "another method than GET (405)"],
  ["refused_version", "Version", "another version of WebSocket (426)"],
  ["refused_origin", "Origin", "a page that may not connect (403)"],
  ["refused_capacity", "Capacity", "no room for more (503)"],
  ["refused_auth", "Auth", "no token, or none that is good"],
  ["refused_timeout", "Time-out", "the request did not come in time (408)"],
  ["refused_early_bytes", "Early bytes", "frames before the answer (400)"],
  ["refused_untrusted", "Untrusted", "no proxy of proxy_from, where only proxies may connect"],
  ["refused_proxy_header", "PROXY header", "a proxy without a PROXY header, or with a wrong one"],
];

const LIMITS = [
  ["messages_ignored", "Messages ignored", "from clients, of no known form"],
  ["subscribes_refused", "Subscribes refused", "by the limits of topics"],
  ["inbox_full", "Inbox full", "calls refused on their way to a shard"],
  ["mesh_full", "Mesh full", "calls refused between shards"],
  ["assemblies_refused", "Assemblies refused", "messages in pieces, for want of memory"],
  ["reads_paused", "Reads paused", "a client sent faster than it may"],
  ["sends_blocked", "Sends blocked", "a socket did not take all at once"],
  ["accepts_failed", "Accepts failed", "connections that the system refused"],
  ["accepts_paused", "Accepts paused", "no place for more connections just then"],
  ["close_timeouts", "Close time-outs", "clients that did not answer a close"],
  ["hook_panics", "Hook panics", "errors in the program's own code"],
  ["clock_jumps", "Clock jumps", "the machine stood still, or its clock was set"],
];

const counter = (name) => (info) => info.total.counters[name];
const close = (name) => (info) => info.total.closed[name];

const TABLES = [
  ["drops", "Messages dropped", DROPS, counter],
  ["closes", "Sessions closed", CLOSES, close],
  ["refusals", "Requests refused", REFUSALS, counter],
  ["limits", "Limits met", LIMITS, counter],
];

export class Reasons {
  #history;

  constructor() {
    at("reason-tables").append(...TABLES.map(([id, title]) => table(id, title)));
    at("show-zero").addEventListener("change", () => this.#history && this.show(this.#history));
  }

  show(history) {
    this.#history = history;
    for (const [id, , reasons, reader] of TABLES)
      this.#fill(id, withUnknown(id, reasons, history), reader, history);
  }

  #fill(id, reasons, reader, history) {
    const { info } = history.last;
    const all = reasons.map(([name]) => reader(name)(info));
    const max = Math.max(...all);
    const shown = reasons.filter((_, index) => all[index] > 0 || at("show-zero").checked);
    const body = at(`${id}-table`).tBodies[0];
    const create = ([, title, meaning]) =>
      make(
        "tr",
        "",
        rowHead("", title, make("span", "meaning", meaning)),
        make("td", "number"),
        make("td", "number"),
        make("td", "", bar()),
      );
    keyed(
      body,
      shown,
      ([name]) => name,
      create,
      (row, [name]) => {
        const value = reader(name)(info);
        const grown = history.grown(reader(name));
        write(row.children[1], whole(value));
        write(row.children[2], grown === null ? "–" : whole(grown));
        fill(row.children[3].firstElementChild, value, max);
      },
    );
    at(`${id}-none`).hidden = shown.length > 0;
    at(`${id}-table`).tHead.hidden = shown.length === 0;
  }
}

/** A newer server may have reasons that this list does not know. */
function withUnknown(id, reasons, history) {
  const { counters, closed } = history.last.info.total;
  const known = new Set(reasons.map(([name]) => name));
  const prefix = { drops: "frames_dropped_", refusals: "refused_" }[id];
  const names =
    id === "closes"
      ? Object.keys(closed)
      : Object.keys(counters).filter((name) => prefix && name.startsWith(prefix));
  return [
    ...reasons.filter(([name]) => name in counters || name in closed),
    ...names.filter((name) => !known.has(name)).map((name) => [name, name, ""]),
  ];
}

function table(id, title) {
  const heads = ["Reason", "Total", "Last minute", "Beside the most frequent"].map((text, index) => {
    const head = make("th", index === 1 || index === 2 ? "number" : "", text);
    head.scope = "col";
    return head;
  });
  const made = make(
    "table",
    "",
    make("caption", "", title),
    make("thead", "", make("tr", "", ...heads)),
    make("tbody"),
  );
  made.id = `${id}-table`;
  const none = make("p", "muted", "None so far.");
  none.id = `${id}-none`;
  const scroll = make("div", "scroll", made);
  scroll.setAttribute("role", "region");
  scroll.setAttribute("aria-label", `${title}, table`);
  scroll.tabIndex = 0;
  return make("div", "card", scroll, none);
}

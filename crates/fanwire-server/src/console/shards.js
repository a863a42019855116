/**
 * Shards: how the load is spread over them, and how busy each one is.
 *
 * In      the history
 * Out     a set of bars for each of a few figures, one bar per shard; a table with all of them
 */
import { bar, fill } from "./bars.js";
import { at, keyed, make, rowHead, write } from "./dom.js";
import { bytes, percent, perSecond, time, whole } from "./figures.js";

const counter = (name) => (history, index) => history.last.info.shards[index].counters[name];
const rate = (name) => (history, index) => history.rate((info) => info.shards[index]?.counters[name] ?? 0);
/** The share of the time in which it did not wait. */
const busy = (history, index) => history.rate((info) => info.shards[index]?.distributions.turn.sum ?? 0);
const turn = (share) => (history, index) => history.last.info.shards[index].distributions.turn[share];

/** Title, what is read, how it is written, and the largest if that is not the largest of the shards. */
const BARS = [
  ["Sessions", counter("sessions"), whole],
  ["Busy", busy, percent, 1],
  ["Queue depth: frames waiting", counter("frames_waiting"), whole],
  ["Calls waiting in the inbox", counter("inbox_waiting"), whole],
  ["Turn, 99 in 100 at most", turn("p99"), time],
  ["Frames sent", rate("frames_sent"), perSecond],
];

const COLUMNS = [
  ["Sessions", counter("sessions"), whole],
  ["Blocked", counter("sessions_blocked"), whole],
  ["Topics", counter("topics"), whole],
  ["Frames waiting", counter("frames_waiting"), whole],
  ["Inbox waiting", counter("inbox_waiting"), whole],
  ["Publishes", counter("publishes"), whole],
  ["Frames sent", counter("frames_sent"), whole],
  ["Bytes sent", counter("bytes_sent"), bytes],
  ["Live frames", counter("frame_bytes_live"), bytes],
  ["Turn p50", turn("p50"), time],
  ["Turn p99", turn("p99"), time],
  ["Busy", busy, percent],
  ["System calls", rate("system_calls"), perSecond],
];

export class Shards {
  constructor() {
    const heads = ["Shard", ...COLUMNS.map(([title]) => title)].map((title, index) => {
      const head = make("th", index === 0 ? "" : "number", title);
      head.scope = "col";
      return head;
    });
    at("shard-table").tHead.append(make("tr", "", ...heads));
  }

  show(history) {
    const { shards } = history.last.info;
    const createCard = ([title]) => make("div", "card", make("h2", "", title), make("ul", "bars"));
    keyed(
      at("shard-cards"),
      BARS,
      ([title]) => title,
      createCard,
      (card, [, read, text, top]) => {
        const values = shards.map((_, index) => read(history, index));
        const max = top ?? Math.max(...values.map((value) => value ?? 0));
        const createBar = ({ shard }) =>
          make("li", "", make("span", "muted", `Shard ${shard}`), bar(), make("span", "number"));
        keyed(
          card.lastElementChild,
          shards,
          ({ shard }) => shard,
          createBar,
          (row, { shard }) => {
            fill(row.children[1], values[shard] ?? 0, max);
            write(row.children[2], text(values[shard]));
          },
        );
      },
    );
    const createRow = ({ shard }) =>
      make("tr", "", rowHead("", String(shard)), ...COLUMNS.map(() => make("td", "number")));
    keyed(
      at("shard-table").tBodies[0],
      shards,
      ({ shard }) => shard,
      createRow,
      (row, { shard }) => {
        COLUMNS.forEach(([, read, text], index) =>
          write(row.children[index + 1], text(read(history, shard))),
        );
      },
    );
  }
}

/**
 * The overview: what the whole server does.
 *
 * In      the history
 * Out     tiles, charts, quantiles, facts
 */
import { Chart } from "./charts.js";
import { at, keyed, make, rowHead, write } from "./dom.js";
import { brief, bytes, classes, duration, perSecond, quantile, time, whole } from "./figures.js";
import { DROPS } from "./reasons.js";

const of = (name) => (info) => info.total.counters[name];
const sum = (object) => Object.values(object).reduce((sum, value) => sum + value, 0);
const dropped = (info) => DROPS.reduce((sum, [name]) => sum + info.total.counters[name], 0);
const closed = (info) => sum(info.total.closed);

/** Name, what is read, how it is written, what stands below. */
const TILES = [
  [
    "Sessions",
    of("sessions"),
    whole,
    (history) => `${perSecond(history.rate(of("sessions_opened")))} opened`,
  ],
  ["Topics", of("topics"), whole, () => "summed over shards"],
  ["Publishes", of("publishes"), whole, (history) => perSecond(history.rate(of("publishes")))],
  ["Frames sent", of("frames_sent"), whole, (history) => perSecond(history.rate(of("frames_sent")))],
  ["Bytes sent", of("bytes_sent"), bytes, (history) => `${bytes(history.rate(of("bytes_sent")))}/s`],
  [
    "Messages received",
    of("messages_received"),
    whole,
    (history) => perSecond(history.rate(of("messages_received"))),
  ],
  [
    "Waiting in queues",
    of("frames_waiting"),
    whole,
    ({ last }) => `${whole(of("sessions_blocked")(last.info))} blocked`,
  ],
  ["Messages dropped", dropped, whole, (history) => perSecond(history.rate(dropped))],
  ["Sessions closed", closed, whole, (history) => perSecond(history.rate(closed))],
  ["Uptime", (info) => info.uptime_seconds, duration, () => ""],
];

const CHARTS = [
  [
    "Publishes and messages received",
    [
      ["Publishes", of("publishes")],
      ["Received", of("messages_received")],
    ],
    perSecond,
  ],
  [
    "Frames to clients",
    [
      ["Sent", of("frames_sent")],
      ["Dropped", dropped],
    ],
    perSecond,
  ],
  ["Bytes to clients", [["Sent", of("bytes_sent")]], (value) => (value == null ? "–" : `${bytes(value)}/s`)],
  [
    "Connections",
    [
      ["Opened", of("sessions_opened")],
      ["Closed", closed],
    ],
    perSecond,
  ],
  ["Sessions", [["Open", of("sessions")]], (value) => brief(value)],
  [
    "Queues",
    [
      ["Frames waiting", of("frames_waiting")],
      ["Sessions blocked", of("sessions_blocked")],
    ],
    (value) => brief(value),
  ],
];

/** Charts from this one on show values, those before it rates. */
const FIRST_GAUGE = 4;

const powers = (base, count) => Array.from({ length: count }, (_, power) => base ** power);
const BINARY = powers(2, 50);
/** There is no half of a session. */
const DECIMAL = powers(10, 13).flatMap((step) => [step, 2 * step, 5 * step]);

const DISTRIBUTIONS = [
  ["publish_to_flush", "Publish to flush"],
  ["turn", "Turn of a shard's loop"],
  ["fan_out", "Subscribers per publish"],
  ["queue_depth", "Queue depth at a flush"],
];

export class Overview {
  #charts;

  constructor() {
    this.#charts = CHARTS.map(([title, series, show]) => {
      const steps = title.startsWith("Bytes") ? BINARY : DECIMAL;
      return new Chart({ title, series: series.map(([name]) => name), show, steps });
    });
    at("charts").append(...this.#charts.map((chart) => chart.element));
  }

  show(history) {
    this.#tiles(history);
    this.#draw(history);
    this.#quantiles(history);
    facts(history.last.info);
  }

  recolour() {
    for (const chart of this.#charts) chart.recolour();
  }

  #tiles(history) {
    const create = ([name]) =>
      make("div", "", make("dt", "", name), make("dd", "value"), make("dd", "beside"));
    keyed(
      at("tiles"),
      TILES,
      ([name]) => name,
      create,
      (tile, [, read, text, beside]) => {
        write(tile.children[1], text(read(history.last.info)));
        write(tile.children[2], beside(history));
      },
    );
  }

  #draw(history) {
    this.#charts.forEach((chart, index) => {
      const lists = CHARTS[index][1].map(([, read]) =>
        index < FIRST_GAUGE ? history.rates(read) : history.values(read),
      );
      chart.draw(history.times, lists);
    });
  }

  #quantiles(history) {
    const { shards } = history.last.info;
    const before = history.minuteAgo()?.info.shards;
    const create = ([, title]) =>
      make("tr", "", rowHead("", title), ...[0, 1, 2, 3].map(() => make("td", "number")));
    keyed(
      at("quantiles").tBodies[0],
      DISTRIBUTIONS,
      ([name]) => name,
      create,
      (row, [name]) => {
        const isTime = shards[0].distributions[name].unit === "seconds";
        const minute = before ? classes(shards, name, before) : [];
        const all = classes(shards, name);
        const texts = [minute, minute, all, all].map((list, index) => {
          const value = quantile(list, index % 2 ? 0.99 : 0.5);
          return isTime ? time(value) : brief(value);
        });
        texts.forEach((text, index) => write(row.children[index + 1], text));
      },
    );
  }
}

function facts(info) {
  const drivers = [...new Set(info.shards.map((shard) => String(shard.driver).replace(/^shard \d+: /, "")))];
  const rows = [
    ["Version", info.version],
    ["WebSocket", `${info.address}${info.path}`],
    ["Shards", whole(info.shards.length)],
    ["Driver", drivers.join("; ")],
    ["Memory", info.memory],
  ];
  showFacts(at("facts"), rows);
}

/** Names and what they stand for. */
export function showFacts(list, rows) {
  const parts = rows.flatMap(([name, text]) => [
    { key: `${name} `, tag: "dt", text: name },
    { key: name, tag: "dd", text },
  ]);
  keyed(
    list,
    parts,
    (part) => part.key,
    ({ tag }) => make(tag, ""),
    (element, { text }) => write(element, text),
  );
}

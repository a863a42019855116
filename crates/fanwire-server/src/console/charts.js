/**
 * Charts over time, drawn by uPlot: up to two series each, with the latest values, or those under the pointer, above.
 *
 * In      a title, series, how values are written
 * Out     an element; `draw(times, lists)` fills it
 * Bounds  as many points as it is given
 */
/* global uPlot */
import { make, write } from "./dom.js";

const INKS = ["first", "second"];
const HEIGHT = 190;
const AXIS_FONT = "12px system-ui, sans-serif";

const watched = new ResizeObserver((entries) => {
  for (const { target } of entries) target.chart?.fit();
});

export class Chart {
  #plot = null;
  #values;
  #data;
  #options;
  #isOver = false;

  /** `series` are names; `show` writes a value; `steps` are the distances of grid lines to choose from. */
  constructor({ title, series, show, steps }) {
    this.#options = { series, show, steps };
    this.#values = series.map(() => make("b", "", "–"));
    const legend = make("ul", "legend");
    series.forEach((name, index) =>
      legend.append(make("li", "", make("i", INKS[index]), name, this.#values[index])),
    );
    this.place = make("div", "plot");
    this.place.chart = this;
    this.place.setAttribute("aria-hidden", "true");
    this.element = make("div", "card chart", make("h2", "", title), legend, this.place);
    watched.observe(this.place);
  }

  /** `lists` has one list of values per series, as long as `times`. */
  draw(times, lists) {
    this.#data = [times, ...lists];
    if (!this.#isOver) this.#write(times.length - 1);
    if (this.#plot) this.#plot.setData(this.#data);
    else this.fit();
  }

  /** Takes the colours of now. */
  recolour() {
    this.#plot?.destroy();
    this.#plot = null;
    this.fit();
  }

  fit() {
    const width = this.place.clientWidth;
    if (!this.#data || width === 0) return;
    if (this.#plot) {
      if (this.#plot.width !== width) this.#plot.setSize({ width, height: HEIGHT });
      return;
    }
    this.#plot = new uPlot(this.#layout(width), this.#data, this.place);
  }

  #write(index) {
    this.#values.forEach((place, series) => {
      write(place, this.#options.show(this.#data[series + 1][index] ?? null));
    });
  }

  #layout(width) {
    const { series, show, steps } = this.#options;
    const axis = {
      stroke: ink("axis"),
      font: AXIS_FONT,
      grid: { stroke: ink("grid"), width: 1 },
      ticks: { show: false },
    };
    const line = (name, index) => ({
      label: name,
      stroke: ink(INKS[index]),
      width: 2,
      points: { show: false },
    });
    return {
      width,
      height: HEIGHT,
      legend: { show: false },
      cursor: { y: false, drag: { x: false, y: false } },
      padding: [8, 8, 0, 0],
      scales: { y: { range: (_, min, max) => [0, nice(max)] } },
      axes: [
        { ...axis, size: 30, space: 70, values: (_, times) => times.map(clock) },
        { ...axis, size: 72, space: 34, incrs: steps, values: (_, values) => values.map(show) },
      ],
      series: [{}, ...series.map(line)],
      hooks: {
        setCursor: [
          (plot) => {
            this.#isOver = plot.cursor.idx != null && plot.cursor.left >= 0;
            this.#write(this.#isOver ? plot.cursor.idx : this.#data[0].length - 1);
          },
        ],
      },
    };
  }
}

/** A colour of the style sheet as the canvas takes it: the browser resolves it for an element of that class. */
function ink(name) {
  const probe = make("span", `hidden ink-${name}`);
  document.body.append(probe);
  const colour = getComputedStyle(probe).color;
  probe.remove();
  return colour;
}

/** A little above the largest value, and never nothing. */
const nice = (max) => (max > 0 ? max * 1.1 : 1);

const clock = (seconds) => {
  const time = new Date(seconds * 1000);
  const two = (value) => String(value).padStart(2, "0");
  return `${two(time.getHours())}:${two(time.getMinutes())}:${two(time.getSeconds())}`;
};

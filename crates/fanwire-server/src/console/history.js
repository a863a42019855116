/**
 * The last minutes: samples of /api/info, and rates between them.
 *
 * In      answers of /api/info with the time at which they came
 * Out     series for the charts
 * Bounds  SAMPLES_MAX; a server that started anew, or a gap in the samples, ends a line instead of bending it
 */

/** Five minutes at one a second. */
const SAMPLES_MAX = 300;

/** Samples further apart are not joined. */
const GAP_SECONDS = 20;

export class History {
  #samples = [];
  #rates = [];

  /** Takes an answer in, at a time in seconds. */
  add(info, at) {
    const last = this.#samples.at(-1);
    const isNew = last && info.uptime_seconds < last.info.uptime_seconds;
    if (isNew) this.#samples = [];
    const before = isNew ? undefined : last;
    const seconds = before ? at - before.at : 0;
    const isJoined = before !== undefined && seconds > 0 && seconds < GAP_SECONDS;
    this.#samples.push({ info, at });
    this.#rates.push({ at, info, before: isJoined ? before.info : undefined, seconds });
    if (this.#samples.length > SAMPLES_MAX) this.#samples.shift();
    if (this.#rates.length > SAMPLES_MAX) this.#rates.shift();
  }

  get last() {
    return this.#rates.at(-1);
  }

  get times() {
    return this.#rates.map((one) => one.at);
  }

  /** What `read(info, index)` of the counters grew by, per second; null where there is nothing to compare. */
  rates(read) {
    return this.#rates.map((one) => rate(one, read));
  }

  /** The value at each time. */
  values(read) {
    return this.#rates.map((one) => read(one.info));
  }

  /** The sample of about a minute ago, if this server ran then. */
  minuteAgo() {
    const last = this.#samples.at(-1);
    if (!last || this.#samples.length < 2) return undefined;
    return this.#samples.find((one) => one.at >= last.at - 60);
  }

  /** The latest rate. */
  rate(read) {
    return this.last ? rate(this.last, read) : null;
  }

  /** What it grew by in the last minute. */
  grown(read) {
    const before = this.minuteAgo();
    return before ? read(this.last.info) - read(before.info) : null;
  }
}

function rate({ info, before, seconds }, read) {
  return before ? Math.max(0, read(info) - read(before)) / seconds : null;
}

/**
 * Asking again and again: once a second while the page is seen, later after each failure.
 *
 * In      `look`, which asks; `failed`, which is told of an error and how long it will be until the next attempt
 * Out     calls, never two at a time
 * Bounds  PERIOD_MS between two calls, up to WAIT_MS_MAX after failures; none while the page is hidden or paused
 */

const PERIOD_MS = 1_000;
const WAIT_MS_MAX = 15_000;

export class Poll {
  #look;
  #failed;
  #failures = 0;
  #timer = 0;
  #isBusy = false;
  #isStopped = true;

  constructor(look, failed) {
    this.#look = look;
    this.#failed = failed;
    document.addEventListener("visibilitychange", () => this.#seen());
    addEventListener("online", () => this.now());
  }

  start() {
    this.#isStopped = false;
    this.now();
  }

  stop() {
    this.#isStopped = true;
    clearTimeout(this.#timer);
  }

  get isStopped() {
    return this.#isStopped;
  }

  /** Does not wait for the next turn. */
  async now() {
    clearTimeout(this.#timer);
    if (this.#isStopped || this.#isBusy || document.hidden) return;
    this.#isBusy = true;
    let waitMs = PERIOD_MS;
    try {
      await this.#look();
      this.#failures = 0;
    } catch (error) {
      waitMs = Math.min(WAIT_MS_MAX, PERIOD_MS * 2 ** this.#failures);
      this.#failures += 1;
      this.#failed(error, waitMs);
    }
    this.#isBusy = false;
    clearTimeout(this.#timer);
    if (!this.#isStopped && !document.hidden) this.#timer = setTimeout(() => this.now(), waitMs);
  }

  #seen() {
    if (document.hidden) clearTimeout(this.#timer);
    else this.now();
  }
}

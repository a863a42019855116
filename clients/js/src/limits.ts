/**
 * The options that are numbers, and their defaults.
 *
 * In      the program's options
 * Out     their values, in the order of `DEFAULTS`
 * Bounds  each 1 to 2,147,483,647: longer times are none at all to timers
 */
import type { Options } from "./types.js";

export function limits(options: Options): Limits {
  return Object.entries(DEFAULTS).map(([name, fallback]) => {
    const value = options[name as keyof typeof DEFAULTS] ?? fallback;
    // False for what is no number as well.
    if (value >= 1 && value < 2 ** 31) return value;
    throw new RangeError(`${name} must be 1 to 2147483647`);
  }) as Limits;
}

const DEFAULTS = {
  retryMs: 1_000,
  retryMsMax: 30_000,
  stableMs: 10_000,
  openMs: 10_000,
  answerMs: 10_000,
  stallMs: 30_000,
  pendingMax: 256,
  pendingCharsMax: 4 << 20,
  topicsMax: 1_024,
};

type Limits = [
  retryMs: number,
  retryMsMax: number,
  stableMs: number,
  openMs: number,
  answerMs: number,
  stallMs: number,
  pendingMax: number,
  pendingCharsMax: number,
  topicsMax: number,
];

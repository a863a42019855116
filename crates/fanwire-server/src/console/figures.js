/**
 * Figures as people read them, and quantiles out of classes.
 *
 * In      numbers of the API
 * Out     texts: totals exact, rates and sizes short
 */

const exact = new Intl.NumberFormat("en");
const short = new Intl.NumberFormat("en", { notation: "compact", maximumSignificantDigits: 3 });
const NONE = "–";

/** A total, all its digits. */
export const whole = (value) => exact.format(value);

/** A rate or an axis, three digits. */
export const brief = (value) => (value == null ? NONE : short.format(value));

export const perSecond = (value) => (value == null ? NONE : `${brief(value)}/s`);

/** Bytes in binary units. */
export function bytes(value) {
  if (value == null) return NONE;
  const units = ["B", "KiB", "MiB", "GiB", "TiB"];
  const step = value < 1 ? 0 : Math.min(units.length - 1, Math.floor(Math.log2(value) / 10));
  const scaled = value / 1024 ** step;
  return `${step === 0 ? Math.round(scaled) : scaled.toPrecision(scaled >= 1000 ? 4 : 3)} ${units[step]}`;
}

/** A time of a shard's, given in seconds. */
export function time(seconds) {
  if (seconds == null) return NONE;
  const [scale, unit] = seconds < 1e-3 ? [1e6, "µs"] : seconds < 1 ? [1e3, "ms"] : [1, "s"];
  return `${Number((seconds * scale).toPrecision(3))} ${unit}`;
}

export function duration(seconds) {
  const parts = [
    [Math.floor(seconds / 86_400), "d"],
    [Math.floor(seconds / 3_600) % 24, "h"],
    [Math.floor(seconds / 60) % 60, "min"],
    [seconds % 60, "s"],
  ];
  const first = parts.findIndex(([count]) => count > 0);
  if (first < 0) return "0 s";
  return parts
    .slice(first, first + 2)
    .map(([count, unit]) => `${count} ${unit}`)
    .join(" ");
}

export const percent = (share) => (share == null ? NONE : `${(100 * share).toFixed(share < 0.1 ? 1 : 0)} %`);

/** Counts per class, all shards together, less those of `before` if it is given. */
export function classes(shards, name, before) {
  const first = shards[0].distributions[name].classes;
  return first.map(({ le }, index) => {
    const sum = (of) => of.reduce((sum, one) => sum + one.distributions[name].classes[index].count, 0);
    return { le, count: sum(shards) - (before ? sum(before) : 0) };
  });
}

/** The upper bound of the class in which the quantile lies, as the API gives it; null without one. */
export function quantile(list, share) {
  const count = list.reduce((sum, one) => sum + one.count, 0);
  const rank = Math.max(1, Math.ceil(count * share));
  let seen = 0;
  for (const one of list) {
    seen += one.count;
    if (seen >= rank) return one.le;
  }
  return null;
}

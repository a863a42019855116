/**
 * Bars: a share of a track, beside the number that it stands for.
 *
 * In      a value and the largest
 * Out     an element that assistive technology passes over, for the number says it all
 */
import { make } from "./dom.js";

export function bar() {
  const track = make("div", "track", make("div", "fill"));
  track.setAttribute("aria-hidden", "true");
  return track;
}

/** What there is of a little is still seen. */
export function fill(track, value, max) {
  const share = max > 0 ? value / max : 0;
  track.firstElementChild.style.width = `${value > 0 ? Math.max(1, 100 * share) : 0}%`;
}

/**
 * How long to wait before attempt number `attempt`, from 0: anything from 0 to `firstMs` doubled as often,
 * at most `maxMs`. All of the span is random ("full jitter"), so that clients who lost one server do not
 * come back as one.
 */
export function backoffMs(attempt: number, firstMs: number, maxMs: number): number {
  return Math.random() * Math.min(maxMs, firstMs * 2 ** attempt);
}

import type { ErrorCode } from "./types.js";

/** What went wrong: `code` for programs, `message` for people; `topic` and `cause` where there is one. */
export class FanwireError extends Error {
  override name = "FanwireError";

  /** `why` is advice, or what was thrown elsewhere. */
  constructor(
    readonly code: ErrorCode,
    why: unknown,
    public topic?: string,
  ) {
    super(`${code}: ${why}`, typeof why === "string" ? {} : { cause: why });
  }
}

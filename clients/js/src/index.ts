/** What users of the package see. */
export { connect } from "./client.js";
export { FanwireError } from "./error.js";
export type {
  Callback,
  Client,
  ErrorCode,
  Events,
  Options,
  Resubscribed,
  State,
  StateChange,
  WebSocketConstructor,
  WebSocketLike,
} from "./types.js";

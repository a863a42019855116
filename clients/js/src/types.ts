/**
 * The public types, and each option's unit, default and reason.
 *
 * Source  docs/clients.md, docs/protocol.md
 */
import type { FanwireError } from "./error.js";

/** A connection that comes back by itself, and the subscriptions that outlive each of its sockets. */
export interface Client {
  /** What it is at, now. */
  readonly state: State;

  /**
   * Calls `callback` with everything that is published on `topic`, until the function returned is called;
   * after that not even with what is under way. The server is asked once, however many callbacks a topic
   * has, and again after every reconnect. When it begins to deliver is a `subscribed` event. If it refuses,
   * that is an `error` event with this topic, and its callbacks are gone.
   *
   * @throws FanwireError `too_many_topics` beyond `topicsMax`.
   */
  subscribe<T = unknown>(topic: string, callback: Callback<T>): () => void;

  /**
   * Publishes `data`, which is written as JSON; `undefined` leaves it out.
   *
   * Resolves when the server has taken the message, not when others have got it. While there is no
   * connection the message waits, for at most `answerMs`. It is sent at most once.
   *
   * Rejects with a `FanwireError`: `queue_full` beyond `pendingMax` or `pendingCharsMax`; `timeout` if it
   * was not sent in time; `connection_lost` or `no_answer` if it was sent and nobody knows what became of
   * it; `closed`; or the server's own code, such as `publish_disabled`.
   */
  publish(topic: string, data?: unknown): Promise<void>;

  /** Calls `listener` at each event of that name; the function returned ends that. */
  on<Name extends keyof Events>(name: Name, listener: (event: Events[Name]) => void): () => void;

  /**
   * Asks the token provider for a token and hands it to the server on the open connection.
   *
   * Rejects with a `FanwireError`: `no_token` if there is no provider, or it gave none;
   * `not_open` or `connection_lost`, after which the next connect asks for a token anyway; or the server's
   * own code. Or with what the provider threw.
   */
  refreshToken(): Promise<void>;

  /** Connects now: also while it waits, and after `closed`. Does nothing while there is a connection. */
  open(): void;

  /** Ends the connection for good, or until `open`. Topics stay; what waits to be published is rejected. */
  close(): void;
}

/** Gets the data of one message, and the topic it was published on. */
export type Callback<T = unknown> = (data: T, topic: string) => void;

/**
 * - `connecting`: the token is asked for, the socket opens;
 * - `open`: requests are sent;
 * - `waiting`: for the next attempt;
 * - `closed`: no further attempt, until `open()`.
 */
export type State = "connecting" | "open" | "waiting" | "closed";

/** What the events carry. */
export interface Events {
  /** The state has changed. */
  state: StateChange;
  /** The server delivers a topic, from now on. */
  subscribed: Resubscribed;
  /** What nobody else is told. Without a listener it goes to `console.error`. */
  error: FanwireError;
}

export interface StateChange {
  readonly state: State;
  /** Of `waiting` and `closed`: the close code; 1006 if there was none. `fanwire/codes` explains it. */
  readonly code?: number;
  /** Of `waiting` and `closed`: the server's words, or ours. */
  readonly reason?: string;
  /** Of `waiting`: until the next attempt. */
  readonly retryInMs?: number | undefined;
}

export interface Resubscribed {
  readonly topic: string;
  /** Whether there was a gap: what was published meanwhile is lost, so read it anew elsewhere. */
  readonly again: boolean;
}

/** Times are in milliseconds, from 1 to 2,147,483,647. */
export interface Options {
  /** The upper end of the first wait before a reconnect; it doubles with each failure. Default 1,000. */
  retryMs?: number;
  /** Where that doubling ends. Default 30,000. */
  retryMsMax?: number;
  /** A connection that lasts so long was a success: the next wait is a first one. Default 10,000. */
  stableMs?: number;
  /** For the token and the handshake together. Default 10,000. */
  openMs?: number;
  /**
   * For the answer to a request, after which the connection counts as dead; and for a publish to be sent.
   * Default 10,000.
   */
  answerMs?: number;
  /** How often the server is asked for a sign of life, unless an answer is awaited anyway. Default 30,000. */
  stallMs?: number;
  /** Publishes that wait or are unanswered. Default 256. */
  pendingMax?: number;
  /** Characters of JSON in them. Default 4,194,304. */
  pendingCharsMax?: number;
  /** Topics at a time, those included whose end is not confirmed yet. Default 1,024, as the server's. */
  topicsMax?: number;
  /**
   * Gives the token: asked before every connect, and when the server says that the last one expires. `null`,
   * or an empty one, says that there is none, and ends the client. What it throws is reported, and tried again later. It is
   * offered as a subprotocol, `fanwire.token.TOKEN`: it has the characters of a JSON Web Token and few others
   * (RFC 9110, token).
   */
  token?: () => string | null | Promise<string | null>;
  /** Whether a close code ends the client. Default `isFinal` of `fanwire/codes`, and 4001 without `token`. */
  isFinal?: (code: number, reason: string) => boolean;
  /** Where there is no global one: that of the `ws` package, for instance. */
  WebSocket?: WebSocketConstructor;
}

export type WebSocketConstructor = new (url: string, protocols: string[]) => WebSocketLike;

/** What the client uses of a WebSocket. */
export interface WebSocketLike {
  onopen: ((event: any) => void) | null;
  onmessage: ((event: any) => void) | null;
  onerror: ((event: any) => void) | null;
  onclose: ((event: any) => void) | null;
  send(text: string): void;
  close(code?: number): void;
}

/** Those of the client; the server's are any other string (docs/protocol.md). */
export type ErrorCode =
  | "bad_message"
  | "callback_failed"
  | "closed"
  | "connect_failed"
  | "connection_lost"
  | "no_answer"
  | "no_token"
  | "not_open"
  | "queue_full"
  | "refresh_failed"
  | "timeout"
  | "too_many_topics"
  | "unsubscribed"
  | (string & {});

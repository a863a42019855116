/** What the client keeps of topics, publishes and requests. */
import type { FanwireError } from "./error.js";

export type Timer = ReturnType<typeof setTimeout> | undefined;
export type Callee = (data: unknown, topic: string) => void;
export type Done = (error?: FanwireError) => unknown;

/** What the server's own messages carry. */
export interface Answer {
  readonly topic?: string;
  readonly code: string;
  readonly message: string;
  readonly state?: string;
  readonly unsubscribed?: readonly string[];
}

export interface Topic {
  readonly _callbacks: Set<Callee>;
  /** What the server has confirmed last. */
  _isOn?: boolean;
  /** It was on before, so that what comes now may follow a gap. */
  _wasOn?: boolean;
  /** A request is on its way, or about to be repeated. */
  _isBusy?: boolean;
}

export interface Publish {
  readonly _text: string;
  readonly _timer: Timer;
  readonly _done: Done;
}

export interface Request {
  /** The topic of its answer, and what that repeats. */
  readonly _answer: string;
  readonly _key: unknown;
  _refusal?: FanwireError;
  readonly _done?: Done | undefined;
}

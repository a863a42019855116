/**
 * The client: one connection at a time, and what outlives it.
 *
 * In      calls of the program, messages of the server, the network's comings and goings
 * Out     requests, callbacks, events
 * Bounds  `Options`: topics, publishes and their characters, every wait. Requests on their way: one per
 *         topic, publish, token and sign of life
 * Source  docs/clients.md, docs/protocol.md
 *
 * Properties that begin with an underscore are shortened by the build.
 */
import { isFinal as isFinalByDefault, TOKEN_EXPIRED } from "./codes.js";
import { FanwireError } from "./error.js";
import { limits } from "./limits.js";
import type { Answer, Callee, Done, Publish, Request, Timer, Topic } from "./parts.js";
import type { Client, Events, Options, State, WebSocketConstructor, WebSocketLike } from "./types.js";

/**
 * Connects to a fanwire-server, and again whenever the connection is lost.
 *
 * @param url `ws:`, `wss:`, `http:` or `https:`; in a page also relative to it, such as `/ws`.
 * @throws TypeError if the URL is none or this runtime has no WebSocket; RangeError if an option is out of
 * range.
 */
export function connect(url: string | URL, options: Options = {}): Client {
  const [retryMs, retryMsMax, stableMs, openMs, answerMs, stallMs, pendingMax, pendingCharsMax, topicsMax] =
    limits(options);
  const {
    token,
    WebSocket: Socket = globalThis.WebSocket as WebSocketConstructor,
    isFinal = (code) => isFinalByDefault(code) || (code === TOKEN_EXPIRED && !token),
  } = options;
  if (!Socket) throw new TypeError("no WebSocket: give one");
  const address = new URL(url, globalThis.location?.href);
  address.protocol = address.protocol.replace("http", "ws");

  const listeners = new Set<[name: keyof Events, listener: Listener]>();
  const topics = new Map<string, Topic>();
  // What is sent leaves it with its answer or its connection, so that all of it waits when there is a new one.
  const publishes = new Set<Publish>();
  // INVARIANT: in the order of sending, which is that of the answers. Tokens are not among them.
  const asked: Request[] = [];

  let state: State = "connecting";
  // Counts attempts: what an earlier one still brings is not listened to.
  let turn = 0;
  let failures = 0;
  let socket: WebSocketLike | undefined;
  // One wait at a time: for the socket to open, to have lasted, or for the next attempt.
  let timer: Timer;
  let stallTimer: Timer;
  let answerTimer: Timer;
  let pings = 0;
  let pendingChars = 0;
  let lastToken: string | undefined;
  let expiredToken: string | undefined;
  let refreshing: Promise<void> | undefined;
  // What becomes of the token that was sent: a server that asks somebody else answers out of turn.
  let renewed: Done | undefined;

  async function start() {
    const mine = ++turn;
    wait(leave, openMs, 1006, "not open");
    watchNetwork("add");
    state = "connecting";
    emit("state", { state });
    try {
      const fresh = token && (await askToken());
      if (mine !== turn) return;
      lastToken = fresh;
      socket = new Socket(address.href, fresh ? ["fanwire", `fanwire.token.${fresh}`] : []);
      socket.onopen = () => mine === turn && opened();
      socket.onmessage = ({ data }) => mine === turn && received(data);
      socket.onclose = ({ code, reason }) => mine === turn && leave(code, reason);
      // A close follows each; but the ws package throws errors that have no listener.
      socket.onerror = () => {};
    } catch (cause) {
      if (mine !== turn) return;
      // What the provider and the WebSocket's constructor throw may be otherwise next time.
      const isLast = cause instanceof FanwireError;
      leave(isLast ? TOKEN_EXPIRED : 1006, `${cause}`, isLast);
      report(isLast ? cause : failure("connect_failed", cause));
    }
  }

  function opened() {
    state = "open";
    wait(() => {
      failures = 0;
    }, stableMs);
    stallTimer = setInterval(probe, stallMs);
    // What waits goes first, for listeners may publish as well.
    for (const name of topics.keys()) sync(name);
    for (const one of publishes) send(one);
    emit("state", { state });
  }

  /** Ends what there is of a connection, for good or until the next attempt. */
  function leave(code: number, reason: string, isLast = call(isFinal, "isFinal", code, reason)) {
    turn++;
    state = isLast ? "closed" : "waiting";
    socket?.close(1000);
    socket = refreshing = undefined;
    clearTimeout(timer);
    clearInterval(stallTimer);
    if (code === TOKEN_EXPIRED) expiredToken = lastToken;
    const lost = failure("connection_lost", UNKNOWN);
    renewed?.(lost);
    while (asked[0]) take(lost);
    for (const [name, topic] of topics) {
      topic._isOn = topic._isBusy = false;
      sync(name);
    }
    if (isLast) {
      for (const one of publishes) one._done(closed());
      watchNetwork("remove");
    }
    emit("state", { state, code, reason, retryInMs: isLast ? undefined : retry() });
  }

  function retry() {
    // All of the span is random ("full jitter"), so that clients who lost one server do not come back as one.
    const retryInMs = Math.random() * Math.min(retryMsMax, retryMs * 2 ** failures++);
    wait(start, retryInMs);
    return retryInMs;
  }

  function wait<In extends unknown[]>(then: (...args: In) => void, ms: number, ...args: In) {
    clearTimeout(timer);
    timer = setTimeout(then, ms, ...args);
  }

  function watchNetwork(verb: "add" | "remove") {
    for (const name of ["online", "offline"]) globalThis[`${verb}EventListener`]?.(name, networkChanged);
  }

  function networkChanged() {
    if (state === "open") probe();
    if (state === "waiting") {
      // It is back, for everybody else in this house as well.
      failures = 0;
      retry();
    }
  }

  function received(text: string): unknown {
    let topic: string;
    let data: Answer | undefined;
    try {
      ({ topic, data } = JSON.parse(text));
    } catch (cause) {
      return report(failure("bad_message", cause));
    }
    const first = asked[0];
    if (topic === "error") {
      const error = failure(data?.code as string, data?.message);
      if (OF_TOKENS.test(error.code)) (renewed ?? report)(error);
      else if (!first) report(error);
      // It is about the publish before this ping, whose pong is still to come.
      else if (first._answer === "pong") first._refusal = error;
      else take(error);
      return;
    }
    if (token && topic === "auth") {
      if (data?.state === "expiring") return renew();
      // What the new token does not open any more.
      for (const name of data?.unsubscribed ?? []) lose(name);
      return renewed?.();
    }
    const key = data?.topic ?? data;
    let before = asked.findIndex((one) => one._answer === topic && one._key === key);
    if (before >= 0) {
      // The server had no room for the answers before this one.
      while (before--) take(failure("no_answer", UNKNOWN));
      return take();
    }
    if (topic === "unsubscribed") return lose(key as string);
    const callbacks = topics.get(topic)?._callbacks;
    // One of them may end another.
    for (const one of new Set(callbacks)) if (callbacks?.has(one)) call(one, topic, data, topic);
  }

  function ask(_answer: string, _key: unknown, request: string, data: unknown, _done?: Done) {
    if (asked.push({ _answer, _key, _done }) === 1) watch();
    socket?.send(envelope(request, data));
  }

  function take(error?: FanwireError) {
    const one = asked.shift();
    watch();
    one?._done?.(error ?? one._refusal);
  }

  function watch() {
    clearTimeout(answerTimer);
    if (renewed || asked[0]) answerTimer = setTimeout(leave, answerMs, 1006, "no answer");
  }

  /** Asks for a sign of life, unless an answer is awaited anyway. */
  function probe() {
    if (!asked[0]) ping();
  }

  function ping(done?: Done) {
    ask("pong", ++pings, "ping", pings, done);
  }

  /** Brings the server's idea of a topic closer to ours, one request at a time. */
  function sync(name: string) {
    const topic = topics.get(name);
    if (!topic || topic._isBusy) return;
    const isWanted = topic._callbacks.size > 0;
    if (!isWanted && !topic._isOn) topics.delete(name);
    if (isWanted === !!topic._isOn || state !== "open") return;
    const mine = turn;
    const request = isWanted ? "subscribe" : "unsubscribe";
    topic._isBusy = true;
    ask(`${request}d`, name, request, { topic: name }, (error) => {
      const next = () => {
        if (mine !== turn) return;
        topic._isBusy = false;
        sync(name);
      };
      if (mine !== turn) return;
      if (error && TRANSIENT.test(error.code)) return setTimeout(next, retryMs);
      topic._isOn = isWanted;
      if (error) lose(name, error);
      else if (isWanted) {
        emit("subscribed", { topic: name, again: !!topic._wasOn });
        topic._wasOn = true;
      }
      next();
    });
  }

  /** A subscription ends that the program has not ended. */
  function lose(name: string, error = failure("unsubscribed", "by the server")) {
    const topic = topics.get(name);
    if (!topic?._isOn) return;
    topic._isOn = false;
    topic._callbacks.clear();
    error.topic = name;
    report(error);
    sync(name);
  }

  /** Nothing answers a publish that goes well, so a ping goes behind it. */
  function send(one: Publish) {
    clearTimeout(one._timer);
    socket?.send(one._text);
    ping(one._done);
  }

  async function askToken(): Promise<string> {
    const fresh = await token?.();
    // None, or the one that has expired.
    if (!fresh || fresh === expiredToken) throw failure("no_token", "sign in, then open()");
    return fresh;
  }

  async function refresh() {
    const mine = turn;
    const fresh = await askToken();
    if (mine !== turn || state !== "open") throw failure("not_open", "wait");
    await new Promise<void>((resolve, reject) => {
      renewed = (error) => {
        renewed = undefined;
        watch();
        if (error) reject(error);
        else resolve();
      };
      watch();
      socket?.send(envelope("auth", { token: fresh }));
    });
    lastToken = fresh;
  }

  /** What fails may go well a moment later: it is tried until the server gives up. */
  function renew(mine = turn) {
    if (mine !== turn) return;
    refreshToken().catch((cause) => {
      report(failure("refresh_failed", cause));
      setTimeout(renew, retryMs, mine);
    });
  }

  function refreshToken(): Promise<void> {
    return (refreshing ??= refresh().finally(() => {
      refreshing = undefined;
    }));
  }

  function on(name: keyof Events, listener: Listener): () => void {
    const own: [keyof Events, Listener] = [name, listener];
    listeners.add(own);
    return () => listeners.delete(own);
  }

  /** Says whether anybody has heard it. */
  function emit<Name extends keyof Events>(name: Name, event: Events[Name]) {
    const heard = [...listeners].filter(([own]) => own === name);
    for (const [, listener] of heard) call(listener, name, event);
    return heard[0];
  }

  function report(error: FanwireError) {
    if (!emit("error", error)) console.error(error);
  }

  /** Calls what the user has written, for the sake of a topic or an event. */
  function call<In extends unknown[], Out>(callback: (...args: In) => Out, from: string, ...args: In) {
    const failed = (cause: unknown) =>
      (from === "error" ? console.error : report)(failure("callback_failed", cause, from));
    try {
      const result = callback(...args);
      // An async function throws later.
      (result as Partial<PromiseLike<void>> | undefined)?.then?.(undefined, failed);
      return result;
    } catch (cause) {
      failed(cause);
    }
  }

  // Not now: whoever calls shall get to add listeners.
  queueMicrotask(() => turn || start());

  return {
    get state() {
      return state;
    },
    on,
    refreshToken,

    subscribe(name, callback) {
      let topic = topics.get(name);
      if (!topic) {
        if (topics.size >= topicsMax) throw failure("too_many_topics", "leave one");
        topic = { _callbacks: new Set() };
        topics.set(name, topic);
      }
      const callbacks = topic._callbacks;
      // The same function may be given twice, and each end by itself.
      const own: Callee = (data, topic) => callback(data as never, topic);
      callbacks.add(own);
      sync(name);
      return () => {
        if (callbacks.delete(own)) sync(name);
      };
    },

    publish: (topic, data) =>
      new Promise((resolve, reject) => {
        const _text = envelope("publish", { topic, data });
        const { length } = _text;
        if (state === "closed") throw closed();
        if (publishes.size >= pendingMax || pendingChars + length > pendingCharsMax) {
          throw failure("queue_full", "await one");
        }
        pendingChars += length;
        const one: Publish = {
          _text,
          _timer: setTimeout(() => one._done(failure("timeout", "not sent")), answerMs),
          _done(error) {
            clearTimeout(one._timer);
            publishes.delete(one);
            pendingChars -= length;
            if (error) reject(error);
            else resolve();
          },
        };
        publishes.add(one);
        if (state === "open") send(one);
      }),

    open() {
      if (state === "open" || state === "connecting") return;
      failures = 0;
      start();
    },

    close() {
      if (state !== "closed") leave(1000, "closed", true);
    },
  };
}

type Listener = (event: any) => void;

const envelope = (topic: string, data: unknown) => JSON.stringify({ topic, data });
const failure = (...args: ConstructorParameters<typeof FanwireError>) => new FanwireError(...args);
const closed = () => failure("closed", "call open()");
const UNKNOWN = "may be there";

/** Codes of errors that are about a token sent in band, and about nothing else. */
const OF_TOKENS = /auth|too_soon/;

/** Refusals that the same request may not meet again. */
const TRANSIENT = /busy|stopping|no_answer/;

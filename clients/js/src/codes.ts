/**
 * Close codes: what each says, and whether a client comes back after it.
 *
 * Source  RFC 6455 section 7.4, the IANA registry, docs/protocol.md; the table in docs/clients.md is tested
 * against this
 */

/** The token has expired: a new one opens the door again. */
export const TOKEN_EXPIRED = 4001;

/**
 * Whether trying again could not help: the session was ended on purpose, or what we sent was wrong and would
 * be so again. For 4001 that is true only without a new token, which the client finds out by itself.
 */
export function isFinal(code: number): boolean {
  return [1000, 1002, 1003, 1007, 1010].includes(code) || (code >= 4000 && code !== TOKEN_EXPIRED);
}

/** One sentence about a code. */
export function explain(code: number): string {
  return (
    MEANINGS[code] ?? (code >= 4000 ? "The application's own code: ask its makers." : "An unknown code.")
  );
}

/** The codes that have a meaning here. */
export const MEANINGS: Readonly<Record<number, string>> = {
  1000: "The server ended this session on purpose.",
  1001: "The server is going away: it restarts, or is shut down.",
  1002: "The server found a frame that breaks the protocol: a faulty proxy, or not a Fanwire server.",
  1003: "The server does not take this kind of message.",
  1005: "The server closed without a code.",
  1006: "No close frame: the network failed, nobody listens there, or the handshake was refused.",
  1007: "The server found text that is not UTF-8.",
  1008: "The server heard nothing for too long: this device slept, or its network was gone.",
  1009: "A message was longer than the server takes (--read-limit).",
  1010: "An extension is missing.",
  1011: "The server failed inside.",
  1012: "The server restarts.",
  1013: "The server was too busy, or this client too slow for what it subscribes to.",
  1014: "A proxy got no good answer from the server.",
  1015: "TLS failed: look at the server's certificate.",
  4001: "The token has expired, and the provider must give a new one.",
};

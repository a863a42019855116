/**
 * JSON Web Tokens for the real server: HS256, by Node's own cryptography.
 *
 * In      a user, seconds until the end, a number that makes tokens of the same second differ, more claims
 * Out     tokens, and the settings of a server that takes them
 * Bounds  a folder for the secret, removed with the test
 * Source  RFC 7515, RFC 7519
 */
import { createHmac } from "node:crypto";
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";

export async function startTokens(t) {
  const folder = await mkdtemp(join(tmpdir(), "fanwire-tokens-"));
  t.after(() => rm(folder, { recursive: true, force: true }));
  const file = join(folder, "secret");
  await writeFile(file, SECRET);
  return {
    settings: ["--auth", "jwt", "--auth-key-file", file, "--auth-leeway", "0s", "--auth-warning", "2s"],
    make(sub, seconds, jti = 0, more = {}) {
      const exp = Math.floor(Date.now() / 1000) + seconds;
      const parts = [{ alg: "HS256", typ: "JWT" }, { sub, exp, jti: `${jti}`, ...more }];
      const signed = parts.map(encoded).join(".");
      return `${signed}.${createHmac("sha256", SECRET).update(signed).digest("base64url")}`;
    },
  };
}

const encoded = (part) => Buffer.from(JSON.stringify(part)).toString("base64url");

const SECRET = "the secret of the client's tests, longer than 32 bytes";

/**
 * Builds the package: a readable module, a small one for pages without a bundler, and the table of close
 * codes.
 *
 * In      src/
 * Out     dist/*.js with source maps; the licences beside package.json. `tsc` writes the *.d.ts
 * Bounds  writes below this folder only
 */
import { copyFile, rm } from "node:fs/promises";
import { fileURLToPath } from "node:url";
import { build } from "esbuild";

const here = (path) => fileURLToPath(new URL(path, import.meta.url));
const common = { bundle: true, format: "esm", target: "es2022", sourcemap: true, logLevel: "warning" };

await rm(here("dist"), { recursive: true, force: true });
await build({ ...common, entryPoints: [here("src/index.ts")], outfile: here("dist/index.js") });
await build({ ...common, entryPoints: [here("src/codes.ts")], outfile: here("dist/codes.js") });
await build({
  ...common,
  minify: true,
  mangleProps: /^_/,
  entryPoints: [here("src/index.ts")],
  outfile: here("dist/fanwire.min.js"),
});
for (const licence of ["LICENSE-APACHE", "LICENSE-MIT"]) {
  await copyFile(here(`../../${licence}`), here(licence));
}

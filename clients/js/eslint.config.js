/** Lints tests, scripts and the readable build; types and unused names are the compiler's to check. */
import js from "@eslint/js";

const names = (list) => Object.fromEntries(list.split(" ").map((name) => [name, "readonly"]));

export default [
  js.configs.recommended,
  { ignores: ["dist/*.min.js"] },
  {
    languageOptions: {
      globals: names(
        "URL console setTimeout clearTimeout setInterval clearInterval queueMicrotask fetch process Buffer " +
          "WebSocket dispatchEvent Event",
      ),
    },
    linterOptions: { reportUnusedDisableDirectives: "error" },
    rules: { eqeqeq: ["error", "always", { null: "ignore" }], "prefer-const": "error" },
  },
];

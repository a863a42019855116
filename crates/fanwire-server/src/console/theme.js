/**
 * Light, dark, or as the system has it.
 *
 * In      a button; localStorage, where the choice is kept
 * Out     data-theme on the document, and `changed()` whenever the colours may be others
 */
import { at } from "./dom.js";

const KEY = "fanwire-console-theme";
const CHOICES = ["system", "light", "dark"];

export function startTheme(changed) {
  let choice = localStorage.getItem(KEY);
  if (!CHOICES.includes(choice)) choice = CHOICES[0];

  function apply() {
    document.documentElement.dataset.theme = choice;
    at("theme").textContent = `Theme: ${choice}`;
    changed();
  }

  at("theme").addEventListener("click", () => {
    choice = CHOICES[(CHOICES.indexOf(choice) + 1) % CHOICES.length];
    localStorage.setItem(KEY, choice);
    apply();
  });
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", changed);
  apply();
}

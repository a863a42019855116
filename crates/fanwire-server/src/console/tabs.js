/**
 * Tabs by the ARIA pattern: arrows, Home and End move, and what has focus is shown. The address names the view.
 *
 * In      buttons with role=tab, whose aria-controls names a section
 * Out     `shown(name)` whenever another view is seen
 */
import { at } from "./dom.js";

export function startTabs(shown) {
  const tabs = [...document.querySelectorAll("[role=tab]")];
  // The address names no element, so that the browser neither scrolls to it nor gives it the focus.
  const nameOf = (tab) => tab.id.replace("tab-", "");
  let current;

  function show(tab) {
    if (tab === current) return;
    current = tab;
    for (const one of tabs) {
      one.setAttribute("aria-selected", String(one === tab));
      one.tabIndex = one === tab ? 0 : -1;
      at(one.getAttribute("aria-controls")).hidden = one !== tab;
    }
    document.title = `${tab.textContent} – Fanwire console`;
    tab.scrollIntoView?.({ block: "nearest", inline: "nearest" });
    shown(nameOf(tab));
  }

  function choose(tab) {
    tab.focus();
    if (tab !== current) window.history.pushState(null, "", `#${nameOf(tab)}`);
    show(tab);
  }

  at("tabs").addEventListener("keydown", (event) => {
    const index = tabs.indexOf(event.target);
    const last = tabs.length - 1;
    const to = {
      ArrowRight: index === last ? 0 : index + 1,
      ArrowLeft: index === 0 ? last : index - 1,
      Home: 0,
      End: last,
    }[event.key];
    if (index < 0 || to === undefined) return;
    event.preventDefault();
    choose(tabs[to]);
  });
  at("tabs").addEventListener("click", (event) => {
    if (tabs.includes(event.target)) choose(event.target);
  });
  at("skip").addEventListener("click", (event) => {
    event.preventDefault();
    at("main").focus();
  });

  const follow = () => show(tabs.find((tab) => `#${nameOf(tab)}` === location.hash) ?? tabs[0]);
  addEventListener("popstate", follow);
  follow();
}

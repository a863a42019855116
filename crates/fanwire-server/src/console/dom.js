/**
 * Elements from values: whatever a server says becomes text, never markup.
 *
 * In      names, texts, rows
 * Out     elements; tables whose rows stay where they are, so that focus is not lost to a refresh
 */

export const at = (id) => document.getElementById(id);

/** An element with a class and texts or elements in it. */
export function make(tag, name, ...parts) {
  const made = document.createElement(tag);
  if (name) made.className = name;
  made.append(...parts);
  return made;
}

/** Writes a text only if it is another one: what stays is not announced again. */
export function write(element, text) {
  if (element.textContent !== text) element.textContent = text;
}

/** A table's head cell for a row. */
export function rowHead(name, ...parts) {
  const head = make("th", name, ...parts);
  head.scope = "row";
  return head;
}

/**
 * Keeps one child per item: `create(item)` makes it, `update(child, item)` fills it.
 * Items are told apart by `key(item)`.
 */
export function keyed(parent, items, key, create, update) {
  const known = new Map([...parent.children].map((child) => [child.dataset.key, child]));
  const wanted = items.map((item) => {
    const name = String(key(item));
    const child = known.get(name) ?? create(item);
    child.dataset.key = name;
    known.delete(name);
    update(child, item);
    return child;
  });
  for (const child of known.values()) child.remove();
  wanted.forEach((child, index) => {
    if (parent.children[index] !== child) parent.insertBefore(child, parent.children[index] ?? null);
  });
}

/** One row that says why there are no others. */
export function emptyRow(body, columns, text) {
  const cell = make("td", "muted", text);
  cell.colSpan = columns;
  body.replaceChildren(make("tr", "", cell));
}

// What the page needs of the document. Text goes in as text: nothing that comes from the agent is ever read as markup.

/**
 * @template {HTMLElement} [E=HTMLElement]
 * @param {string} id
 * @returns {E}
 */
export function byId(id) {
  const element = document.getElementById(id);
  if (element === null) throw new Error(`the page has no ${id}`);
  return /** @type {E} */ (element);
}

/**
 * @template {keyof HTMLElementTagNameMap} T
 * @param {T} tag
 * @param {string} className
 * @param {...(string | Node)} content
 * @returns {HTMLElementTagNameMap[T]}
 */
export function make(tag, className, ...content) {
  const element = document.createElement(tag);
  if (className !== "") element.className = className;
  element.append(...content);
  return element;
}

/**
 * Touches the element only if the text is another one, so that a screen reader is not told of it again.
 * @param {Element} element
 * @param {string} text
 */
export function setText(element, text) {
  if (element.textContent !== text) element.textContent = text;
}

/**
 * A sign for the eye; its meaning stands beside it as text.
 * @param {string} sign
 * @param {string} className
 */
export function signOf(sign, className = "") {
  const element = make("span", `sign ${className}`.trimEnd(), sign);
  element.setAttribute("aria-hidden", "true");
  return element;
}

/** @param {number | null | undefined} ms */
export function formatMs(ms) {
  if (ms === undefined || ms === null) return "—";
  return `${ms < 10 ? ms.toPrecision(2) : ms.toFixed(0)} ms`;
}

/**
 * A time as it is written where the viewer lives; its title is the one in UTC.
 * @param {string} time RFC 3339
 */
export function timeOf(time) {
  const date = new Date(time);
  const isToday = date.toDateString() === new Date().toDateString();
  const element = make("time", "", isToday ? date.toLocaleTimeString() : date.toLocaleString());
  element.dateTime = time;
  element.title = time;
  return element;
}

/** @param {number} count @param {string} one */
export const plural = (count, one) => `${count} ${one}${count === 1 ? "" : "s"}`;

/**
 * Makes these the children of a list. Those that are there already stay where they are, so that the focus stays.
 * @param {Element} list
 * @param {readonly Element[]} wanted
 */
export function arrange(list, wanted) {
  const focused = document.activeElement;
  const staying = new Set(wanted);
  for (const child of [...list.children]) if (!staying.has(child)) child.remove();
  let at = list.firstElementChild;
  for (const element of wanted) {
    if (element === at) at = at.nextElementSibling;
    else list.insertBefore(element, at);
  }
  // One that had to move has lost it.
  if (focused instanceof HTMLElement && focused !== document.activeElement && list.contains(focused))
    focused.focus({ preventScroll: true });
}

/** @typedef {{ key: string, content: unknown, build: () => HTMLElement }} Item */

/** @type {WeakMap<Element, { key: string, version: string }>} */
const built = new WeakMap();

/**
 * Shows items as a list's children; those with the content that they had stay as they are.
 * @param {Element} list
 * @param {readonly Item[]} items each with another key
 */
export function showItems(list, items) {
  const before = new Map([...list.children].map((child) => [built.get(child)?.key, child]));
  const focusedKey = [...before].find(([, child]) => child.contains(document.activeElement))?.[0];
  const elements = items.map(({ key, content, build }) => {
    const known = before.get(key);
    const version = JSON.stringify(content);
    if (known !== undefined && built.get(known)?.version === version) return known;
    const element = build();
    built.set(element, { key, version });
    return element;
  });
  arrange(list, elements);
  if (focusedKey === undefined || list.contains(document.activeElement)) return;
  elements
    .find((element) => built.get(element)?.key === focusedKey)
    ?.querySelector("button")
    ?.focus();
}

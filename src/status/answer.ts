import type { Context } from "hono";
import { breathe } from "./slices.ts";

/** Items that are written as JSON in one go: some tenths of a millisecond, in between others get their turn. */
const AT_ONCE = 1000;

/** People look at what these show as it comes. */
const FOR_PEOPLE = /^(curl|wget)\//i;

/** Whether a request gets its JSON indented: as it asks, else by who asks. */
function isForPeople(userAgent: string | undefined, asked: boolean | undefined): boolean {
  return asked ?? FOR_PEOPLE.test(userAgent ?? "");
}

/** A document as JSON; a long list of `items` is written bit by bit, so that nothing else has to wait for it. */
async function toJson(document: object, isPretty: boolean): Promise<string> {
  const indent = isPretty ? 2 : undefined;
  const end = isPretty ? "\n" : "";
  if (!("items" in document && Array.isArray(document.items) && document.items.length > AT_ONCE))
    return `${JSON.stringify(document, null, indent)}${end}`;
  const items: readonly unknown[] = document.items;
  const parts: string[] = [];
  for (let at = 0; at < items.length; at += AT_ONCE) {
    const text = JSON.stringify(items.slice(at, at + AT_ONCE), null, indent);
    // Without its brackets, and a level further in.
    parts.push(isPretty ? text.slice(2, -2).replaceAll("\n", "\n  ") : text.slice(1, -1));
    await breathe();
  }
  // It comes first, so the first of this text is it.
  const whole = JSON.stringify({ ...document, items: [] }, null, indent);
  const [hole, joined] = isPretty ? ['"items": []', parts.join(",\n  ")] : ['"items":[]', parts.join(",")];
  const start = whole.indexOf(hole) + hole.length - 1;
  const [before, after] = [whole.slice(0, start), whole.slice(start)];
  return isPretty ? `${before}\n  ${joined}\n  ${after}${end}` : `${before}${joined}${after}`;
}

export type AnswerStatus = 200 | 202 | 400 | 403 | 404 | 405 | 413 | 415 | 421 | 500 | 503;

/** @param isPretty undefined: by who asks */
export async function answer(
  context: Context,
  document: object,
  options: { readonly status?: AnswerStatus; readonly isPretty?: boolean | undefined } = {},
): Promise<Response> {
  const text = await toJson(document, isForPeople(context.req.header("user-agent"), options.isPretty));
  return context.body(text, options.status ?? 200, {
    "content-type": "application/json",
    // Also of what HEAD leaves out.
    "content-length": `${Buffer.byteLength(text)}`,
    "cache-control": "no-store",
    "x-content-type-options": "nosniff",
  });
}

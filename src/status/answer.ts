import type { Context } from "hono";
import { describeError } from "../base/errors.ts";
import { logger } from "../base/log.ts";
import type { Items } from "./items.ts";
import type { Places } from "./places.ts";
import { breathe } from "./slices.ts";

const log = logger("http");

/** Items of a list up to which it is written in one go, which takes some milliseconds. */
const AT_ONCE = 500;
/** Items of a longer one that are written in one go, and are in memory at a time. */
const SLICE = 250;

/** People look at what these show as it comes. */
const FOR_PEOPLE = /^(curl|wget)\//i;

/** Whether a request gets its JSON indented: as it asks, else by who asks. */
function isForPeople(userAgent: string | undefined, asked: boolean | undefined): boolean {
  return asked ?? FOR_PEOPLE.test(userAgent ?? "");
}

interface List {
  readonly items: Items<unknown>;
}

function isList(document: object): document is List {
  return "items" in document;
}

function toJson(document: object, isPretty: boolean): string {
  return isPretty ? `${JSON.stringify(document, null, 2)}\n` : JSON.stringify(document);
}

/**
 * A list of thousands as the same JSON, bit by bit: each slice is made once the reader has taken the one before, so that
 * nothing else has to wait for it, and one that does not read takes no memory.
 * @param onEnd called when it has ended, for whatever reason
 */
function listStream(path: string, document: List, isPretty: boolean, onEnd: () => void): ReadableStream<Uint8Array> {
  const encoder = new TextEncoder();
  const parts = listParts(document, isPretty);
  return new ReadableStream<Uint8Array>(
    {
      async pull(controller) {
        // A stream that is always ready would be taken to its end at once.
        await breathe();
        try {
          const { value, done } = parts.next();
          if (!done) return controller.enqueue(encoder.encode(value));
          controller.close();
        } catch (error) {
          // It has begun, so there is no other way to say so than to break off.
          log.error("{path} failed: {error}", { path, error: describeError(error) });
          controller.error(error);
        }
        onEnd();
      },
      cancel: onEnd,
    },
    { highWaterMark: 0 },
  );
}

function* listParts(document: List, isPretty: boolean): Generator<string> {
  const { items } = document;
  const indent = isPretty ? 2 : undefined;
  // It comes first, so the first of this text is it.
  const around = JSON.stringify({ ...document, items: [] }, null, indent);
  const hole = isPretty ? '"items": []' : '"items":[]';
  const start = around.indexOf(hole) + hole.length - 1;
  yield around.slice(0, start);
  for (let at = 0; at < items.length; at += SLICE) {
    const text = JSON.stringify(items.slice(at, at + SLICE), null, indent);
    const comma = at === 0 ? "" : ",";
    // Without its brackets, and a level further in.
    yield `${comma}${isPretty ? text.slice(1, -2).replaceAll("\n", "\n  ") : text.slice(1, -1)}`;
  }
  yield `${isPretty ? "\n  " : ""}${around.slice(start)}${isPretty ? "\n" : ""}`;
}

export type AnswerStatus = 200 | 202 | 400 | 403 | 404 | 405 | 413 | 415 | 421 | 500 | 503;

const HEADERS = {
  "content-type": "application/json",
  "cache-control": "no-store",
  "x-content-type-options": "nosniff",
} as const;

/** @param isPretty undefined: by who asks */
export function answer(
  context: Context,
  document: object,
  options: { readonly status?: AnswerStatus; readonly isPretty?: boolean | undefined } = {},
): Response {
  const text = toJson(document, isForPeople(context.req.header("user-agent"), options.isPretty));
  // The length is also that of what HEAD leaves out.
  const headers = { ...HEADERS, "content-length": `${Buffer.byteLength(text)}` };
  return context.body(text, options.status ?? 200, headers);
}

/**
 * As `answer`; a long list is made while it is sent.
 * @param places one is taken as long as a long list is being sent
 * @throws Refusal with status 503 if none is free
 */
export function answerList(
  context: Context,
  document: object,
  { isPretty, places }: { readonly isPretty: boolean | undefined; readonly places: Places },
): Response {
  if (!isList(document)) return answer(context, document, { isPretty });
  const { items } = document;
  if (items.length <= AT_ONCE) return answer(context, { ...document, items: items.slice() }, { isPretty });
  if (context.req.method === "HEAD") return context.body(null, 200, HEADERS);
  const forPeople = isForPeople(context.req.header("user-agent"), isPretty);
  const stream = listStream(context.req.path, document, forPeople, places.take());
  return context.body(stream, 200, HEADERS);
}

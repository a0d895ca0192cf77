import { afterAll, describe, expect, test } from "bun:test";
import fc from "fast-check";
import type { Event } from "../../src/api/events.ts";
import { eventLine, sinceIn } from "../../src/cli/events/command.ts";
import { followEvents, messages } from "../../src/cli/events/stream.ts";

function sample(id: number, changes: Partial<Event> = {}): Event {
  const base = {
    id,
    at: "2026-11-26T06:00:00.000Z",
    kind: "repaired",
    level: "info",
    message: `repair ${id}`,
  } as const;
  return { ...base, times: 1, node: null, cause: null, durationMs: null, ...changes };
}

const frame = (event: Event) => `id: ${event.id}\nevent: ${event.kind}\ndata: ${JSON.stringify(event)}\n\n`;

const stream = (text: string) => new Response(text, { headers: { "content-type": "text/event-stream" } });

async function* chunksOf(bytes: Uint8Array, sizes: readonly number[]): AsyncGenerator<Uint8Array> {
  let at = 0;
  for (const size of sizes) {
    yield bytes.subarray(at, at + size);
    at += size;
  }
  yield bytes.subarray(at);
}

test("messages are the same however they are cut on the way", async () => {
  const events = [sample(1), sample(2, { message: "übergroß — 日本" }), sample(3)];
  const text = `retry: 2000\n\n: still here\n\n${events.map(frame).join("")}`;
  const bytes = new TextEncoder().encode(text);
  await fc.assert(
    fc.asyncProperty(fc.array(fc.nat({ max: 60 }), { maxLength: 30 }), async (sizes) => {
      const found: unknown[] = [];
      for await (const data of messages(chunksOf(bytes, sizes), () => {})) found.push(JSON.parse(data));
      expect(found).toEqual(events);
    }),
  );
});

describe("a stream that is followed", () => {
  const stopping = new AbortController();
  afterAll(() => stopping.abort());

  test("is taken up where it broke off, over pauses, until it is stopped", async () => {
    const asked: (number | undefined)[] = [];
    const lost: string[] = [];
    // Of three connections one is refused, as while the agent starts anew.
    const answers = [[sample(4), sample(5)], undefined, [sample(6)]];
    const events = followEvents({
      async open(lastId) {
        asked.push(lastId);
        const answer = answers.shift();
        if (answer === undefined) throw new Error("nothing listens there");
        return stream(answer.map(frame).join(""));
      },
      onLost: (why) => lost.push(why),
      signal: stopping.signal,
    });
    const ids: number[] = [];
    for await (const { id } of events) {
      ids.push(id);
      if (id === 6) stopping.abort();
    }
    expect(ids).toEqual([4, 5, 6]);
    expect(asked).toEqual([undefined, 5, 5]);
    expect(lost).toEqual(["the agent ended the stream"]);
  });

  test("that is refused, or was never there, is an error at once", async () => {
    const signal = new AbortController().signal;
    const refused = followEvents({
      open: async () => Response.json({ error: "no kind x" }, { status: 400 }),
      onLost: () => {},
      signal,
    });
    await expect(refused.next()).rejects.toThrow('the agent refuses: {"error":"no kind x"}');
    const other = followEvents({ open: async () => stream('data: {"id": "x"}\n\n'), onLost: () => {}, signal });
    await expect(other.next()).rejects.toThrow("not what this version knows");
    const none = followEvents({ open: async () => new Response("<html>"), onLost: () => {}, signal });
    await expect(none.next()).rejects.toThrow("no stream of events");
    const away = followEvents({
      open: () => Promise.reject(new Error("nothing listens there")),
      onLost: () => {},
      signal,
    });
    await expect(away.next()).rejects.toThrow("nothing listens there");
  });
});

test.each([
  ["10m", "2026-11-26T05:50:00.000Z"],
  ["2h", "2026-11-26T04:00:00.000Z"],
  ["1d", "2026-11-25T06:00:00.000Z"],
  ["17", "17"],
  ["2026-11-26T05:00:00Z", "2026-11-26T05:00:00Z"],
  ["yesterday", undefined],
  ["-5m", undefined],
  ["", undefined],
])("--since=%s is %p", (text, expected) => {
  expect(sinceIn(text, Date.parse("2026-11-26T06:00:00.000Z"))).toBe(expected);
});

test("an event is a line with its cause and how long it took", () => {
  const plain = (_: unknown, text: string) => text;
  expect(eventLine(sample(1, { cause: "drift", durationMs: 3.14, node: "n2" }), plain)).toBe(
    "2026-11-26T06:00:00.000Z  repaired          n2: repair 1 (drift), 3.1 ms",
  );
  const message = "peer n2: no answer: see whether it is up";
  const down = sample(1, { message, cause: "no answer", durationMs: 61_500, node: "n2" });
  expect(eventLine(down, plain)).toEndWith(`  ${message}, 1m1s`);
  expect(eventLine(sample(1, { level: "error" }), (colour, text) => `${colour}:${text}`)).toStartWith("red:2026");
});

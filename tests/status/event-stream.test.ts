import { describe, expect, test } from "bun:test";
import { connect } from "node:net";
import type { ReadableStreamDefaultReader } from "node:stream/web";
import { EventLog } from "../../src/status/event-log.ts";
import { eventStream } from "../../src/status/event-stream.ts";
import { eventually } from "../support/wait.ts";
import { appOf, ask, facts } from "./facts.ts";

/** Reads a stream until its text has something in it; leaves it open. */
class StreamReader {
  readonly #reader: ReadableStreamDefaultReader<Uint8Array>;
  readonly #decoder = new TextDecoder();
  text = "";

  constructor(stream: ReadableStream<Uint8Array> | null) {
    if (stream === null) throw new Error("there is no stream");
    this.#reader = stream.getReader();
  }

  async until(part: string): Promise<string> {
    while (!this.text.includes(part)) {
      const { done, value } = await this.#reader.read();
      if (done) throw new Error(`the stream has ended without ${part}: ${this.text}`);
      this.text += this.#decoder.decode(value, { stream: true });
    }
    return this.text;
  }

  async end(): Promise<string> {
    for (;;) {
      const { done, value } = await this.#reader.read();
      if (done) return this.text;
      this.text += this.#decoder.decode(value, { stream: true });
    }
  }

  cancel(): Promise<void> {
    return this.#reader.cancel();
  }
}

function logOf(...messages: string[]): EventLog {
  const events = new EventLog();
  for (const message of messages) events.add({ kind: "driftFound", message });
  return events;
}

const idsIn = (text: string) => [...text.matchAll(/^id: (\d+)$/gm)].map((match) => Number(match[1]));

async function open(events: EventLog, query = "follow", headers: Record<string, string> = {}, stopping?: AbortSignal) {
  const app = appOf(facts({ events }), stopping === undefined ? {} : { stopping });
  const response = await app.request(`/debug/events?${query}`, { headers });
  expect(response.headers.get("content-type")).toBe("text/event-stream");
  return new StreamReader(response.body);
}

describe("a live stream", () => {
  test("first what is kept, then what happens, each as one message with one line of JSON", async () => {
    const events = logOf("first", "second\nline");
    const reader = await open(events);
    await reader.until("second");
    events.add({ kind: "repaired", message: "third", durationMs: 1.5 });
    await reader.until("third");
    expect(idsIn(reader.text)).toEqual([1, 2, 3]);
    const frames = reader.text.split("\n\n").filter((frame) => frame.startsWith("id:"));
    for (const [index, event] of events.after().entries()) {
      expect(frames[index]).toBe(`id: ${event.id}\nevent: ${event.kind}\ndata: ${JSON.stringify(event)}`);
    }
    await reader.cancel();
  });

  test("by the Accept header as well; what was asked for alone", async () => {
    const events = logOf("first");
    const reader = await open(events, "kind=ready,notReady", { accept: "text/event-stream" });
    events.add({ kind: "driftFound", message: "no" });
    events.add({ kind: "notReady", message: "yes" });
    await reader.until("yes");
    expect(idsIn(reader.text)).toEqual([3]);
    await reader.cancel();
  });

  test("a reader that comes back gets what it missed; after a new start of the agent, all", async () => {
    const events = logOf("first", "second", "third");
    const again = await open(events, "follow", { "last-event-id": "2" });
    expect(idsIn(await again.until("third"))).toEqual([3]);
    const restarted = await open(events, "follow", { "last-event-id": "77" });
    expect(idsIn(await restarted.until("third"))).toEqual([1, 2, 3]);
    const since = await open(events, "follow&since=1");
    expect(idsIn(await since.until("third"))).toEqual([2, 3]);
    for (const reader of [again, restarted, since]) await reader.cancel();
  });

  test("a new start of the agent goes on with later ids, so that a reader who comes back misses nothing", async () => {
    const before = EventLog.ofAgent();
    for (const message of ["first", "second"]) before.add({ kind: "driftFound", message });
    const last = before.after().at(-1)?.id ?? 0;
    // Ids begin with the time of the start, and no agent has more events than milliseconds.
    await eventually(() => Date.now() > last, { within: 20_000, what: "as many milliseconds have passed as events" });
    const after = EventLog.ofAgent();
    for (const message of ["third", "fourth", "fifth"]) after.add({ kind: "driftFound", message });
    const reader = await open(after, "follow", { "last-event-id": String(last) });
    expect(await reader.until("fifth")).toContain("third");
    await reader.cancel();
  });

  test("says when some of what was missed is not kept any more", async () => {
    const events = new EventLog(2);
    for (const message of ["first", "second", "third", "fourth"]) events.add({ kind: "driftFound", message });
    const reader = await open(events, "follow", { "last-event-id": "1" });
    expect(await reader.until("fourth")).toContain(": events before 3 are not kept any more\n\n");
    await reader.cancel();
  });

  test("ends when the agent stops", async () => {
    const stopping = new AbortController();
    const events = logOf("first");
    const reader = await open(events, "follow", {}, stopping.signal);
    await reader.until("first");
    events.add({ kind: "stopping", message: "the end" });
    stopping.abort();
    expect(await reader.end()).toContain("the end");
  });

  test("only so many at a time, and one that was left makes room", async () => {
    const known = facts({ events: logOf("first") });
    const app = appOf(known);
    const streams: Response[] = [];
    const another = () => app.request("/debug/events?follow");
    for (let response = await another(); response.status === 200; response = await another()) streams.push(response);
    expect(streams).toHaveLength(16);
    const refused = await another();
    expect(refused.status).toBe(503);
    expect(await refused.json()).toEqual({ error: expect.stringContaining("16 live streams are open already") });
    await streams[3]?.body?.cancel();
    const room = await another();
    expect(room.status).toBe(200);
    for (const { body } of [...streams, room]) if (body?.locked === false) await body.cancel();
  });
});

test("a reader that does not read is dropped, and what waits for it is bounded", async () => {
  const events = new EventLog();
  let ended = false;
  using server = Bun.serve({
    hostname: "127.0.0.1",
    port: 0,
    fetch: () => {
      const onEnd = () => {
        ended = true;
      };
      const stopping = new AbortController().signal;
      return new Response(eventStream({ events, isAsked: () => true, after: 0, stopping, onEnd }));
    },
  });
  const socket = connect(server.port ?? 0, "127.0.0.1");
  socket.write("GET / HTTP/1.1\r\nHost: localhost\r\n\r\n");
  await new Promise((resolve) => socket.once("data", resolve));
  socket.pause();
  let sent = 0;
  await eventually(
    () => {
      for (let count = 0; count < 100; count++) {
        const message = `${sent} ${"x".repeat(1000)}`;
        events.add({ kind: "driftFound", message });
        sent += message.length;
      }
      return ended;
    },
    { within: 30_000, what: "it is dropped" },
  );
  // What the kernel buffers of a connection, half a megabyte of ours, and not all that happened.
  expect(sent).toBeLessThan(40_000_000);
  socket.destroy();
});

test("without follow: the kept ones as a list, by kind, node and time", async () => {
  const now = { at: 1_700_000_000_000 };
  const events = new EventLog(10, () => now.at);
  events.add({ kind: "started", message: "a" });
  now.at += 60_000;
  events.add({ kind: "leaseAdded", message: "b", node: "n2" });
  events.add({ kind: "leaseRemoved", message: "c", node: "10.244.3.0-24" });
  const lease = { key: "10.244.3.0-24", node: "n3", subnets: {}, publicIPs: {}, backendType: "vxlan", vteps: {} };
  const known = facts({ events, snapshot: { leases: [lease], rejected: [], takenAt: 0 } });
  const ids = async (query: string) => {
    const { body } = await ask(known, `/debug/events?${query}`);
    return (body as { items: { id: number }[] }).items.map(({ id }) => id);
  };
  expect(await ids("")).toEqual([1, 2, 3]);
  expect(await ids("kind=started,leaseRemoved")).toEqual([1, 3]);
  expect(await ids("node=n2")).toEqual([2]);
  expect(await ids("node=n3")).toEqual([3]);
  expect(await ids("node=gone")).toEqual([]);
  expect(await ids("since=1")).toEqual([2, 3]);
  expect(await ids(`since=${encodeURIComponent(new Date(now.at - 1).toISOString())}`)).toEqual([2, 3]);
  expect(await ids("limit=1&offset=1")).toEqual([2]);
});

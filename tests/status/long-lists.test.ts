import { expect, test } from "bun:test";
import { connect, type Socket } from "node:net";
import { compress } from "hono/compress";
import * as v from "valibot";
import { LeaseList } from "../../src/api/leases.ts";
import { answerList } from "../../src/status/answer.ts";
import { emptyApp } from "../../src/status/health.ts";
import { type Items, shownWhenAsked } from "../../src/status/items.ts";
import { listen } from "../../src/status/listen.ts";
import { Places } from "../../src/status/places.ts";
import { exampleLease, IPV4 } from "../desired/examples.ts";
import { useTemporaryFolder } from "../support/temp.ts";
import { eventually } from "../support/wait.ts";
import { appOf, facts } from "./facts.ts";

const folder = useTemporaryFolder();

/** Thousands of leases, as an agent that knows of nothing else. */
const KNOWN = facts({
  snapshot: { leases: Array.from({ length: 3500 }, (_, n) => exampleLease(IPV4, n + 1)), rejected: [], takenAt: 0 },
});
const ALL = "/debug/leases?limit=10000";

/** Serves a list at a unix socket. */
async function serve(items: Items<string>, places: Places) {
  const app = emptyApp();
  app.use(compress());
  app.get("/list", (context) => answerList(context, { items, total: items.length }, { isPretty: false, places }));
  const path = folder.at(`${crypto.randomUUID()}.sock`);
  const listener = listen({ kind: "unix", path }, app.fetch, "--debug-socket", "owner");
  const ask = (encoding = "identity") =>
    fetch("http://x/list", { unix: path, headers: { "accept-encoding": encoding } });
  await eventually(async () => (await fetch("http://x/", { unix: path })).status === 404, {
    within: 20_000,
    what: "it answers",
  });
  return { path, ask, [Symbol.asyncDispose]: () => listener.stop() };
}

/** Asks for the list, and reads nothing after the answer's first bytes. */
function beginToRead(path: string, encoding = "identity"): Promise<Socket> {
  const { promise, resolve, reject } = Promise.withResolvers<Socket>();
  const head = `GET /list HTTP/1.1\r\nHost: localhost\r\nAccept-Encoding: ${encoding}\r\n\r\n`;
  const socket = connect(path, () => socket.write(head));
  socket.once("error", reject);
  socket.once("readable", () => resolve(socket));
  return promise;
}

/** A kilobyte, of which gzip can't make less than half. */
const randomText = () => crypto.getRandomValues(new Uint8Array(500)).toHex();

test("whoever does not read has nothing made for it, and keeps nobody from the whole list", async () => {
  const count = 20_000;
  const text = randomText();
  let made = 0;
  const items = shownWhenAsked(
    Array.from({ length: count }, (_, n) => n),
    (n) => {
      made++;
      return `${n} ${text}`;
    },
  );
  await using server = await serve(items, new Places(100, "are open"));
  const idle = await Promise.all(Array.from({ length: 20 }, () => beginToRead(server.path)));
  try {
    const { items: read } = (await (await server.ask()).json()) as { items: string[] };
    expect(read).toHaveLength(count);
    expect(read.at(-1)).toBe(`${count - 1} ${text}`);
    // Of the 20 MB of each of the others no more than what the kernel keeps for it, and what is just to be sent.
    expect(made - count).toBeLessThan((idle.length * count) / 10);
  } finally {
    for (const socket of idle) socket.destroy();
  }
});

test.each(["identity", "gzip"])(
  "only so many at a time; one that is left, read to its end or broken off makes room: %s",
  async (encoding) => {
    const places = new Places(3, "lists are being sent already");
    let isBroken = false;
    const items: Items<string> = {
      length: 20_000,
      slice: (start = 0, end = 0) => {
        if (isBroken) throw new Error("the view fails");
        return Array.from({ length: end - start }, randomText);
      },
    };
    await using server = await serve(items, places);
    const isWhole = async () => {
      const response = await server.ask(encoding);
      return response.ok && (await response.text()).endsWith("}");
    };
    const idle = await Promise.all([1, 2, 3].map(() => beginToRead(server.path, encoding)));
    try {
      expect((await server.ask(encoding)).ok).toBe(false);
      idle[0]?.destroy();
      await eventually(isWhole, { within: 20_000, what: "the one that was left makes room" });
      // And the one after it, too.
      expect(await isWhole()).toBe(true);
      isBroken = true;
      for (const _ of [1, 2, 3, 4]) {
        const response = await server.ask(encoding);
        expect(response.status).toBe(200);
        await expect(response.text()).rejects.toThrow();
      }
      isBroken = false;
      expect(await isWhole()).toBe(true);
    } finally {
      for (const socket of idle) socket.destroy();
    }
  },
);

test("lists that are not read to their end: the hundred and first is told why it has to wait", async () => {
  const app = appOf(KNOWN);
  const open: Response[] = [];
  for (let response = await app.request(ALL); response.status === 200; response = await app.request(ALL))
    open.push(response);
  expect(open).toHaveLength(100);
  const refused = await app.request(ALL);
  expect(refused.status).toBe(503);
  expect(await refused.json()).toEqual({ error: expect.stringContaining("100 long lists are being sent already") });
  // What is written in one go needs no place.
  expect((await app.request("/debug/leases?limit=500")).status).toBe(200);
  expect(v.parse(LeaseList, await open[5]?.json()).items).toHaveLength(3500);
  expect((await app.request(ALL)).status).toBe(200);
});

test("HEAD has the headers and takes no place; gzip is for whoever asks", async () => {
  const app = appOf(KNOWN);
  for (let times = 0; times < 200; times++) {
    const head = await app.request(ALL, { method: "HEAD" });
    expect([head.status, head.headers.get("content-type"), await head.text()]).toEqual([200, "application/json", ""]);
  }
  const zipped = await app.request(ALL, { headers: { "accept-encoding": "gzip" } });
  expect(zipped.headers.get("content-encoding")).toBe("gzip");
  const text = Buffer.from(Bun.gunzipSync(await zipped.arrayBuffer())).toString();
  expect(v.parse(LeaseList, JSON.parse(text)).items).toHaveLength(3500);
});

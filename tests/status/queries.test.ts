import { describe, expect, test } from "bun:test";
import fc from "fast-check";
import * as v from "valibot";
import { LeaseList } from "../../src/api/leases.ts";
import { ApiError } from "../../src/api/values.ts";
import { exampleLease, IPV4 } from "../desired/examples.ts";
import { appOf, ask, facts, programmed } from "./facts.ts";

describe("refused, with what is wrong and what would be right", () => {
  const { known } = programmed(IPV4, [exampleLease(IPV4, 1)]);
  test.each([
    ["/debug/leases?famly=ipv4", 400, '/debug/leases has no parameter "famly"; did you mean family?'],
    ["/debug/leases?xyz=1", 400, '/debug/leases has no parameter "xyz"; it takes family, node, limit, offset, pretty'],
    ["/debug/leases?family=4", 400, 'the parameter family must be ipv4 or ipv6, not "4"'],
    ["/debug/leases?family=ipv4&family=ipv6", 400, "the parameter family is there twice"],
    ["/debug/leases?limit=0", 400, 'the parameter limit must be a whole number from 1 to 10000, not "0"'],
    ["/debug/leases?limit=10001", 400, 'the parameter limit must be a whole number from 1 to 10000, not "10001"'],
    ["/debug/leases?limit=1e3", 400, 'the parameter limit must be a whole number from 1 to 10000, not "1e3"'],
    ["/debug/leases?offset=-1", 400, "the parameter offset must be a whole number from 0 to"],
    ["/debug/leases?node=", 400, "the parameter node must not be empty"],
    ["/debug/leases?node=node-7", 404, 'no lease is of a node "node-7"'],
    ["/debug/kernel?node=node-7", 404, 'no lease is of a node "node-7"'],
    ["/debug/peers?node=node-7", 404, 'there is no peer "node-7"'],
    ["/debug/peers/node-7", 404, 'there is no peer "node-7"'],
    ["/debug/peers/node-0", 404, "node-0 is this node itself, not a peer; /debug/lease has its lease"],
    ["/debug/state?pretty=maybe", 400, 'the parameter pretty must be true or false, not "maybe"'],
    ["/debug/state?limit=1", 400, '/debug/state has no parameter "limit"'],
    ["/debug/events?kind=peerDwn", 400, "the parameter kind must be among started, stopping, "],
    ["/debug/events?since=yesterday", 400, "the parameter since must be an event's id, or a time as in"],
    ["/debug/events?follow&limit=1", 400, "a live stream has no pages: leave out limit"],
    ["/openapi.json?x=1", 400, '/openapi.json has no parameter "x"'],
    ["/debug/peeers", 404, "nothing is at /debug/peeers; did you mean /debug/peers?"],
  ])("%s", async (path, status, message) => {
    const answer = await ask(known, path);
    expect(v.parse(ApiError, answer.body).error).toStartWith(message);
    expect(answer.status).toBe(status);
  });

  test("a method that there is not, with those that there are", async () => {
    for (const [method, path, allow] of [
      ["POST", "/debug/leases", "GET, HEAD"],
      ["GET", "/debug/resync", "POST"],
      ["DELETE", "/debug/log-level", "PUT"],
      ["PUT", "/healthz", "GET, HEAD"],
      ["PATCH", "/debug/peers/node-1", "GET, HEAD"],
    ] as const) {
      const answer = await ask(known, path, { method });
      expect(answer.status).toBe(405);
      expect(answer.headers.get("allow")).toBe(allow);
      expect(v.parse(ApiError, answer.body).error).toBe(`${path} takes ${allow}, not ${method}`);
    }
  });

  test("what is not there yet is said with where to look", async () => {
    const answer = await ask(facts(), "/debug/interface");
    expect(answer.status).toBe(503);
    expect(v.parse(ApiError, answer.body).error).toContain("/readyz");
    // While the kernel is read anew; before anything is wanted there is nothing to wait for.
    const { actual: _actual, ...unread } = programmed(IPV4, [exampleLease(IPV4, 1)]).known;
    expect((await ask(unread, "/debug/kernel")).status).toBe(503);
    expect((await ask(facts(), "/debug/kernel")).status).toBe(200);
  });
});

test("the pages of a list, one link after the other, are the list", async () => {
  const { known } = programmed(
    IPV4,
    Array.from({ length: 23 }, (_, n) => exampleLease(IPV4, n + 1)),
  );
  const all = v.parse(LeaseList, (await ask(known, "/debug/leases")).body);
  expect(all).toMatchObject({ total: 24, offset: 0, next: null });
  await fc.assert(
    fc.asyncProperty(fc.integer({ min: 1, max: 30 }), fc.integer({ min: 0, max: 30 }), async (limit, offset) => {
      const found: unknown[] = [];
      let path: string | null = `/debug/leases?family=ipv4&limit=${limit}&offset=${offset}`;
      while (path !== null) {
        const page: v.InferOutput<typeof LeaseList> = v.parse(LeaseList, (await ask(known, path)).body);
        expect(page.total).toBe(24);
        expect(page.offset).toBe(offset + found.length);
        expect(page.items.length).toBeLessThanOrEqual(limit);
        found.push(...page.items);
        path = page.next;
      }
      expect(found).toEqual(all.items.slice(offset));
    }),
    { numRuns: 40 },
  );
});

test("a list of thousands, which is written bit by bit, is the same JSON", async () => {
  const peers = Array.from({ length: 3500 }, (_, n) => exampleLease(IPV4, n + 1));
  const known = facts({ snapshot: { leases: peers, rejected: [], takenAt: 0 } });
  const { text, body } = await ask(known, "/debug/leases?limit=10000");
  expect(v.parse(LeaseList, body).items.map(({ key }) => key)).toEqual(peers.map(({ key }) => key));
  expect(text).toBe(JSON.stringify(body));
  const pretty = await ask(known, "/debug/leases?limit=10000&pretty");
  expect(pretty.text).toBe(`${JSON.stringify({ ...(body as object) }, null, 2)}\n`);
});

test("indented for curl and wget, or as it is asked for", async () => {
  const isPretty = async (agent: string, query = "") =>
    (await ask(facts(), `/debug/lease${query}`, { headers: { "user-agent": agent } })).text.endsWith("\n}\n");
  expect(await isPretty("curl/7.88.1")).toBe(true);
  expect(await isPretty("Wget/1.21.3")).toBe(true);
  expect(await isPretty("Mozilla/5.0 (curl/1)")).toBe(false);
  expect(await isPretty("curl/7.88.1", "?pretty=false")).toBe(false);
  expect(await isPretty("x", "?pretty")).toBe(true);
  expect(await isPretty("x", "?pretty=true")).toBe(true);
});

test("nothing is kept by caches; HEAD has no body, also of a live stream; gzip where it is taken", async () => {
  const { headers } = await ask(facts(), "/debug/state");
  expect(headers.get("cache-control")).toBe("no-store");
  for (const path of ["/debug/state", "/debug/events?follow"]) {
    const head = await ask(facts(), path, { method: "HEAD" });
    expect(head).toMatchObject({ status: 200, text: "" });
  }
  const { known } = programmed(IPV4, [exampleLease(IPV4, 1)]);
  const zipped = await appOf(known).request("/debug/state", { headers: { "accept-encoding": "gzip" } });
  expect(zipped.headers.get("content-encoding")).toBe("gzip");
  expect(JSON.parse(Buffer.from(Bun.gunzipSync(await zipped.arrayBuffer())).toString())).toMatchObject({
    node: "node-0",
  });
});

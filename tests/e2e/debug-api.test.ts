import { afterAll, beforeAll, expect, test } from "bun:test";
import { join } from "node:path";
import * as v from "valibot";
import { Event, EventList } from "../../src/api/events.ts";
import { Desired, Diff, KernelState } from "../../src/api/kernel.ts";
import { LeaseList } from "../../src/api/leases.ts";
import { Peer, PeerList } from "../../src/api/peers.ts";
import { RESOURCES } from "../../src/api/resources.ts";
import { RulesInFull } from "../../src/api/rules.ts";
import { Config } from "../../src/api/state.ts";
import type { TestAgent } from "../support/agent.ts";
import { Overlay } from "../support/overlay.ts";
import { describeInNamespaces } from "../support/requires.ts";
import { useTemporaryFolder } from "../support/temp.ts";
import { eventually } from "../support/wait.ts";

/** Where the first node's agent listens on TCP, too. */
const PORT = 8285;

describeInNamespaces("the debug API of running agents", () => {
  const folder = useTemporaryFolder();
  const overlay = new Overlay(folder.path, [4, 6]);

  beforeAll(async () => {
    await overlay.create(3, undefined, ["--probe-interval=1", "--ip-masq"]);
    overlay.node(1).agent.flags = ["--probe-interval=1", "--ip-masq", `--debug-addr=127.0.0.1:${PORT}`];
    await overlay.start();
  });

  afterAll(() => overlay[Symbol.dispose]());

  const agent = (): TestAgent => overlay.node(1).agent;

  /** An answer, which `fetch` has held against /openapi.json. */
  async function get<S extends v.GenericSchema>(path: string, schema: S): Promise<v.InferOutput<S>> {
    const response = await agent().fetch(path);
    return v.parse(schema, await response.json());
  }

  const peer = (name: string) => get(`/debug/peers/${name}`, Peer);

  /** curl in the first node's namespace, as a person calls it. */
  function curl(...args: string[]): Promise<string> {
    return overlay.node(1).ns.exec(["curl", "--silent", "--show-error", ...args]);
  }

  test("everything that can be read is as /openapi.json says, over the socket and over TCP", async () => {
    for (const { path, schema } of Object.values(RESOURCES)) {
      const at = path.replace(":node", "n2");
      expect((await agent().fetch(at)).status).toBe(200);
      v.parse(schema, JSON.parse(await curl(`http://127.0.0.1:${PORT}${at}`)));
    }
  });

  test("leases, what is desired and what the kernel has, by node and family, in pages", async () => {
    const leases = await get("/debug/leases", LeaseList);
    expect(leases.items.map(({ node }) => node).sort()).toEqual(["n1", "n2", "n3"]);
    const first = await get("/debug/leases?limit=2", LeaseList);
    expect(first.items).toEqual(leases.items.slice(0, 2));
    expect((await get(first.next ?? "", LeaseList)).items).toEqual(leases.items.slice(2));
    const desired = await get("/debug/desired?node=n2&family=ipv6", Desired);
    expect(desired.items.map(({ kind }) => kind)).toEqual(["route", "neighbour", "forwarding"]);
    const kernel = await get("/debug/kernel?node=n2&family=ipv6", KernelState);
    expect(kernel.items).toEqual(expect.arrayContaining(desired.items));
    expect(kernel.devices.map(({ name }) => name).sort()).toEqual(["flannel-v6.1", "flannel.1"]);
  });

  test("the masquerade and forward rules, each one", async () => {
    const { desired, inPlace } = await get("/debug/rules", RulesInFull);
    expect(inPlace).toEqual({ ipv4: true, ipv6: true });
    const any = { source: null, destination: null, mark: null };
    const network = "10.244.0.0/16";
    expect(desired.ipv4?.forward).toEqual([
      { ...any, source: network, verdict: "accept" },
      { ...any, destination: network, verdict: "accept" },
    ]);
    expect(desired.ipv4?.masquerade[0]).toEqual({ ...any, mark: "0x4000", verdict: "return" });
    const outside = { source: network, destination: "!224.0.0.0/4" };
    expect(desired.ipv4?.masquerade).toContainEqual({ ...any, ...outside, verdict: "masquerade fully-random" });
    expect(desired.ipv6?.forward).toHaveLength(2);
  });

  test("a peer's state, from its lease, the kernel and the probes, and why", async () => {
    await eventually(async () => (await get("/debug/peers", PeerList)).counts.up === 2, {
      within: 20_000,
      what: "both peers are up",
    });
    expect(await peer("n2")).toMatchObject({ node: "n2", why: null, fix: null, ipv6: { kernel: { route: true } } });
    const { ns } = overlay.node(2);
    await ns.exec(["nft", "add table inet block; add chain inet block in { type filter hook input priority -200; }"]);
    await ns.exec(["nft", "add rule inet block in udp dport 8472 drop"]);
    const down = await eventually(
      async () => {
        const list = await get("/debug/peers", PeerList);
        return list.items[0]?.state === "down" ? list.items[0] : undefined;
      },
      { within: 30_000, what: "the peer whose port is blocked comes first" },
    );
    expect(down.node).toBe("n2");
    expect(down.why).toContain("192.0.2.2 answers");
    expect(down.fix).toContain("8472");
    await ns.exec(["nft", "delete table inet block"]);
    await eventually(async () => (await peer("n2")).state === "up", { within: 30_000, what: "it is up again" });
  });

  test("what is undone shows in the diff or is mended, and events tell of it live", async () => {
    const { items } = await get("/debug/events?limit=10000", EventList);
    const last = items.at(-1)?.id ?? 0;
    const stream = await agent().fetch(`/debug/events?follow&kind=driftFound,repaired`, {
      headers: { "last-event-id": String(last) },
    });
    expect(stream.headers.get("content-type")).toBe("text/event-stream");
    await overlay.node(1).ns.exec(["ip", "route", "flush", "dev", "flannel.1"]);
    const text = await readUntil(stream, /^data: .*\n\n/m);
    const data = /^data: (.*)$/m.exec(text)?.[1] ?? "";
    const event = v.parse(Event, JSON.parse(data));
    expect(text).toContain(`id: ${event.id}\nevent: ${event.kind}\ndata: ${data}\n`);
    expect(event.id).toBeGreaterThan(last);
    await agent().settled(3);
    expect(await get("/debug/diff", Diff)).toMatchObject({ items: [], settled: true });
  });

  test("what the kernel refuses is told everywhere, with its error", async () => {
    const setting = "/proc/sys/net/ipv6/conf/flannel-v6.1/disable_ipv6";
    const { ns } = overlay.node(2);
    const other = overlay.node(2).agent;
    await ns.exec(["sh", "-c", `echo 1 > ${setting}`]);
    const [event] = await eventually(
      async () => {
        const found = (await other.events("applyFailed")).filter(({ message }) => message.includes("route"));
        return found.length > 0 ? found : undefined;
      },
      { within: 20_000, what: "the kernel refuses routes of IPv6" },
    );
    expect(event).toMatchObject({ level: "error", cause: expect.any(String), durationMs: expect.any(Number) });
    expect(event?.message).toContain("EACCES");
    const { failures, reconcile } = await other.state();
    expect(failures.map(({ message }) => message)).toContain(event?.message ?? "");
    expect(reconcile).toMatchObject({ settled: false, failed: failures.length });
    const { items } = v.parse(Diff, await (await other.fetch("/debug/diff?family=ipv6&node=n1")).json());
    expect(items).toContainEqual(expect.objectContaining({ action: "add", kind: "route", why: "it is missing" }));
    const { ready, warnings } = await other.readiness();
    expect(ready).toBe(false);
    expect(warnings.map(({ message }) => message)).toContain(event?.message ?? "");
    const metrics = await (await other.raw("/metrics")).text();
    expect(metrics).toMatch(/^tartan_kernel_operation_failures_total\{operation="route-replace"\} [1-9]/m);
    await ns.exec(["sh", "-c", `echo 0 > ${setting}`]);
    await other.ready();
    await other.settled(3);
  });

  test("a stream ends when the agent stops, and the reader gets what it missed after a new start", async () => {
    const node = overlay.node(3).agent;
    const stream = await node.fetch("/debug/events?follow");
    const ended = stream.text();
    expect(await node.stop()).toBe(0);
    expect(await ended).toContain("event: stopping\n");
    await node.start();
    const last = [...(await ended).matchAll(/^id: (\d+)$/gm)].at(-1)?.[1] ?? "";
    const again = await node.fetch("/debug/events?follow", { headers: { "last-event-id": last } });
    expect(await readUntil(again, /^event: .*\n/m)).toContain("event: started\n");
  });

  test("a new look and the log's level can be asked for at the commands' socket, not elsewhere", async () => {
    const before = (await agent().state()).reconcile.fullReads;
    const resync = await agent().command("/debug/resync", { method: "POST" });
    expect(resync.status).toBe(202);
    // While it is read nobody takes an empty list for it.
    expect((await get("/debug/kernel", KernelState)).total).toBeGreaterThanOrEqual(12);
    await eventually(async () => (await agent().state()).reconcile.fullReads > before, {
      within: 10_000,
      what: "the kernel was read anew",
    });
    const setLevel = (level: string) =>
      agent().command("/debug/log-level", {
        method: "PUT",
        headers: { "content-type": "application/json" },
        body: JSON.stringify({ level }),
      });
    expect((await setLevel("trace")).status).toBe(200);
    expect((await get("/debug/config", Config)).logLevel).toBe("trace");
    expect((await setLevel("loud")).status).toBe(400);
    await setLevel("info");
    expect((await agent().fetch("/debug/resync", { method: "POST" })).status).toBe(403);
    const refused = await curl("-X", "POST", "-w", "%{http_code}", `http://127.0.0.1:${PORT}/debug/resync`);
    expect(refused).toContain("--debug-socket");
    expect(refused).toEndWith("403");
  });

  test("curl gets indented JSON, others do not; a foreign Host is refused, none is not", async () => {
    const url = `http://127.0.0.1:${PORT}/debug/lease`;
    const pretty = await curl(url);
    expect(pretty).toMatch(/^\{\n {2}"lease": \{\n/);
    expect(await curl("--head", url)).toMatch(new RegExp(`^content-length: ${pretty.length}\\r$`, "im"));
    expect((await (await agent().fetch("/debug/lease")).text()).includes("\n")).toBe(false);
    expect(await curl("-H", "Host: evil.example", "-w", "%{http_code}", url)).toEndWith("421");
    expect(await curl("--http1.0", "-H", "Host:", "-w", "%{http_code}", url)).toEndWith("200");
    const zipped = await curl(
      "--compressed",
      "-D",
      join(folder.path, "headers"),
      `http://127.0.0.1:${PORT}/debug/state`,
    );
    expect(JSON.parse(zipped)).toMatchObject({ node: "n1" });
    expect(await Bun.file(join(folder.path, "headers")).text()).toMatch(/^content-encoding: gzip\r$/im);
  });

  test("a quiet stream stays open, with a sign of life now and then", async () => {
    const stream = await agent().fetch("/debug/events?follow&kind=stopping");
    expect(await readUntil(stream, /\n: still here\n\n/)).toBe("retry: 2000\n\n: still here\n\n");
  });
});

/** What a stream says until it has said something; the pieces in which it comes are no matter. */
async function readUntil(stream: Response, pattern: RegExp): Promise<string> {
  const decoder = new TextDecoder();
  let text = "";
  for await (const chunk of stream.body ?? []) {
    text += decoder.decode(chunk, { stream: true });
    if (pattern.test(text)) return text;
  }
  throw new Error(`the stream ended before it said ${pattern}: ${text}`);
}

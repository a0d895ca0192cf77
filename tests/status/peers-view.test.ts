import { expect, test } from "bun:test";
import * as v from "valibot";
import { Desired, Diff, KernelState } from "../../src/api/kernel.ts";
import { Peer, PeerList } from "../../src/api/peers.ts";
import type { Facts } from "../../src/status/facts.ts";
import { DUAL, exampleLease, exampleMac, exampleSubnet, IPV4 } from "../desired/examples.ts";
import { DEVICE } from "../kernel/drift-cases.ts";
import { ask, NOW, probesThatSay, programmed } from "./facts.ts";

async function peers(known: Facts, query = ""): Promise<v.InferOutput<typeof PeerList>> {
  return v.parse(PeerList, (await ask(known, `/debug/peers${query}`)).body);
}

async function peer(known: Facts, name: string): Promise<Peer> {
  return v.parse(Peer, (await ask(known, `/debug/peers/${encodeURIComponent(name)}`)).body);
}

test("trouble first, then by name; with counts of all, on whatever page", async () => {
  const leases = [1, 2, 3, 4, 5, 6].map((n) => exampleLease(IPV4, n));
  const { known } = programmed(IPV4, [...leases, exampleLease(IPV4, 7, { backendType: "host-gw" })], {
    probes: probesThatSay({
      "node-1": "reachable",
      "node-2": "lossy",
      "node-3": "overlayBlocked",
      "node-5": "mtuTooSmall",
      "node-6": "unreachable",
    }),
  });
  const list = await peers(known);
  expect(list.items.map(({ node, state }) => [node, state])).toEqual([
    ["node-3", "down"],
    ["node-6", "down"],
    ["node-7", "leftOut"],
    ["node-2", "degraded"],
    ["node-5", "degraded"],
    ["node-4", "unknown"],
    ["node-1", "up"],
  ]);
  const counts = { down: 2, notProgrammed: 0, leftOut: 1, degraded: 2, unknown: 1, up: 1 };
  expect(list).toMatchObject({ total: 7, counts, probeIntervalMs: 10_000 });
  expect(await peers(known, "?limit=1&offset=3")).toMatchObject({ counts, items: [{ node: "node-2" }] });
  expect((await ask(known, "/debug/state")).body).toMatchObject({ peerCounts: counts });
  // Known to be as desired, the kernel's entries need no look.
  const { actual: _, ...unlooked } = known;
  expect(await peers({ ...unlooked, asDesired: true })).toEqual(list);
  expect(list.items[0]?.since).toBe(new Date(NOW - 60_000).toISOString());
  for (const { state, why, fix } of list.items) expect([why, fix].includes(null)).toBe(state === "up");
});

test("why, and what to do, name the addresses, the device and the port", async () => {
  const leases = [1, 2, 3, 4].map((n) => exampleLease(IPV4, n));
  const { known } = programmed(IPV4, leases, {
    probes: probesThatSay({ "node-1": "overlayBlocked", "node-2": "mtuTooSmall", "node-3": "lossy" }),
  });
  const blocked = await peer(known, "node-1");
  expect(blocked.why).toContain("198.18.0.2 answers");
  expect(blocked.fix).toMatch(/8472.*198\.18\.0\.1.*198\.18\.0\.2.*flannel\.1/);
  expect((await peer(known, "node-2")).fix).toContain("1500 bytes");
  expect((await peer(known, "node-3")).why).toContain("20 %");
  expect((await peer(known, "node-4")).why).toContain("not probed yet");
  const { known: unprobed } = programmed(IPV4, leases);
  expect((await peer(unprobed, "node-4")).fix).toContain("--probe-interval");
});

test("what is missing in the kernel, with the kernel's refusal if there was one", async () => {
  const { known, kernel } = programmed(
    IPV4,
    [1, 2].map((n) => exampleLease(IPV4, n)),
    {
      probes: probesThatSay({ "node-1": "reachable", "node-2": "reachable" }),
    },
  );
  const { address } = exampleSubnet(4, 2);
  expect(kernel.deleteNeighbour(DEVICE, address)).toBeUndefined();
  const list = await peers(known);
  expect(list.items.map(({ node, state }) => [node, state])).toEqual([
    ["node-2", "notProgrammed"],
    ["node-1", "up"],
  ]);
  expect(list.items[0]?.ipv4?.kernel).toEqual({ route: true, neighbour: false, forwarding: true });
  expect(list.items[0]?.why).toBe(`on flannel.1 the neighbour ${address} is not as wanted`);
  const message = "replace neighbour: ENOBUFS";
  const failure = {
    operation: "replace neighbour",
    object: `${address} at ${exampleMac(4, 2)}`,
    error: "ENOBUFS",
    message,
  };
  const refused = await peer({ ...known, kernel: { ...known.kernel, failures: [failure] } }, "node-2");
  expect(refused.why).toEndWith(`is not as wanted: ${message}`);
  expect(refused.fix).toContain("/debug/diff");
});

test("without the device nothing of a peer is there, whatever the probes said before", async () => {
  const { known, kernel } = programmed(IPV4, [exampleLease(IPV4, 1)], {
    probes: probesThatSay({ "node-1": "reachable" }),
  });
  kernel.deleteLink(DEVICE);
  const { state, ipv4 } = await peer(known, "node-1");
  expect(state).toBe("notProgrammed");
  expect(ipv4?.kernel).toEqual({ route: false, neighbour: false, forwarding: false });
});

test("a node of one family among those of both; with a family, its part alone counts", async () => {
  const leases = [exampleLease(DUAL, 1), exampleLease(IPV4, 2)];
  const probes = { ...probesThatSay({ "node-1": "reachable", "node-2": "reachable" }) };
  const verdict = (key: string, family: 4 | 6) => (key === "node-1" && family === 6 ? "unreachable" : "reachable");
  const { known } = programmed(DUAL, leases, { probes: { ...probes, verdict } });
  expect((await peers(known)).counts).toMatchObject({ down: 1, up: 1 });
  expect((await peers(known, "?family=ipv4")).counts).toMatchObject({ down: 0, up: 2 });
  const six = await peers(known, "?family=ipv6");
  expect(six.items.map(({ node, state }) => [node, state])).toEqual([["node-1", "down"]]);
  expect(six.items[0]?.ipv4).toBeUndefined();
  expect((await peer(known, "node-2")).ipv6).toBeUndefined();
});

test("a rejected record, one whose last good lease stays, and a lease that has just come", async () => {
  const rejected = ["node-1", "node-9"].map((key) => ({ key, node: key, reason: "no JSON" }));
  const { known } = programmed(IPV4, [exampleLease(IPV4, 1)]);
  const leases = [...(known.snapshot?.leases ?? []), exampleLease(IPV4, 5)];
  const now: Facts = { ...known, snapshot: { leases, rejected, takenAt: NOW } };
  const list = await peers({ ...now, probes: probesThatSay({ "node-1": "reachable" }) });
  expect(list.items.map(({ node, state }) => [node, state])).toEqual([
    ["node-5", "notProgrammed"],
    ["node-9", "leftOut"],
    ["node-1", "up"],
  ]);
  expect(list.items[0]?.why).toContain("not programmed yet");
  expect(list.items[1]).toMatchObject({
    why: "nothing is programmed for it: no JSON",
    fix: "mend its lease node-9 in embedded /x/leases.db, or remove it if the node is gone",
  });
});

test("a node of another VNI is left out with both VNIs named, and where all are, this node is the one to look at", async () => {
  const other = (n: number) => exampleLease(IPV4, n, { vteps: { 4: { vni: 7, mac: exampleMac(4, n) } } });
  const one = await peer(programmed(IPV4, [exampleLease(IPV4, 1), other(2)]).known, "node-2");
  expect(one).toMatchObject({
    state: "leftOut",
    why: "nothing is programmed for it: its VNI is 7, ours is 1",
    fix: "give all nodes one Backend.VNI, 7 or 1, and restart the agents that have the other one",
  });
  const { items } = await peers(programmed(IPV4, [other(1), other(2)]).known);
  for (const { fix } of items) expect(fix).toStartWith("it is the same with all other nodes, so begin with this one: ");
});

test("what is desired and what the kernel has, of one node and family", async () => {
  const { known, kernel } = programmed(
    DUAL,
    [1, 2].map((n) => exampleLease(DUAL, n)),
  );
  const query = "?node=node-2&family=ipv4";
  const desired = v.parse(Desired, (await ask(known, `/debug/desired${query}`)).body);
  expect(desired.items.map(({ kind, family }) => [kind, family])).toEqual([
    ["route", "ipv4"],
    ["neighbour", "ipv4"],
    ["forwarding", "ipv4"],
  ]);
  const there = async () => v.parse(KernelState, (await ask(known, `/debug/kernel${query}`)).body);
  expect((await there()).items).toEqual(desired.items);
  kernel.deleteNeighbour(DEVICE, exampleSubnet(4, 2).address);
  expect((await there()).items).toEqual(desired.items.filter(({ kind }) => kind !== "neighbour"));
  const own = v.parse(Desired, (await ask(known, "/debug/desired?node=node-0")).body);
  expect(own).toMatchObject({ items: [], networks: ["10.244.0.0/16", "fd00:10:244::/48"] });
  expect(own.devices.map(({ name }) => name)).toEqual(["flannel.1", "flannel-v6.1"]);
});

test("what is left to be done, by family and by node", async () => {
  const { known } = programmed(DUAL, [exampleLease(DUAL, 1)]);
  const route = (family: 4 | 6) => ({
    kind: "route-replace" as const,
    destination: exampleSubnet(family, 1),
    gateway: exampleSubnet(family, 1).address,
    index: DEVICE,
    onlink: true,
    protocol: 112,
    why: "it is missing",
  });
  const link = { kind: "link-delete" as const, index: DEVICE, name: "flannel.1", why: "its VNI is 7, not 1" };
  const drifted = { ...known, diff: () => [link, route(4), route(6)] };
  const diff = v.parse(Diff, (await ask(drifted, "/debug/diff")).body);
  expect(diff).toMatchObject({ settled: false, pruning: true, total: 3 });
  expect(diff.items).toEqual([
    { action: "remove", kind: "link", object: "flannel.1", why: "its VNI is 7, not 1" },
    { action: "add", kind: "route", object: "10.244.2.0/24", why: "it is missing" },
    { action: "add", kind: "route", object: "fd00:10:244:2::/64", why: "it is missing" },
  ]);
  expect((await ask(drifted, "/debug/diff?family=ipv6")).body).toMatchObject({
    items: [diff.items[2]],
    settled: false,
  });
  expect((await ask(drifted, "/debug/diff?node=node-1")).body).toMatchObject({ items: diff.items.slice(1) });
  expect((await ask(drifted, "/debug/diff?node=node-1&family=ipv4")).body).toMatchObject({ items: [diff.items[1]] });
});

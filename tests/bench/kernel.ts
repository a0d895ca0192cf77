import type { Database } from "bun:sqlite";
import { join } from "node:path";
import { sleep } from "../../src/base/backoff.ts";
import type { KernelEvent } from "../../src/kernel/state.ts";
import { openStore, type TestAgent } from "../support/agent.ts";
import { Overlay } from "../support/overlay.ts";
import { eventually } from "../support/wait.ts";
import { cpuSeconds, memoryOf, percentile, round, say, watchKernel } from "./measure.ts";
import { FIRST_PEER, makePeer, makePeers, type Peer, putPeers } from "./peers.ts";

const CHANGES = 200;
/** One resync is among them. */
const IDLE_SECONDS = Number(process.env["BENCH_IDLE_SECONDS"] ?? 60);

interface Bench {
  readonly agent: TestAgent;
  readonly store: Database;
}

async function counts(node: Bench): Promise<{ routes: number; neighbours: number; forwarding: number }> {
  const lines = async (command: string[]): Promise<number> =>
    (await node.agent.ns.exec(command)).split("\n").filter(Boolean).length;
  return {
    routes: await lines(["ip", "-4", "route", "show", "dev", "flannel.1"]),
    neighbours: await lines(["ip", "-4", "neigh", "show", "dev", "flannel.1", "nud", "permanent"]),
    forwarding: await lines(["bridge", "fdb", "show", "dev", "flannel.1"]),
  };
}

/** All peers at once, from the commit in the store to the last entry in the kernel. */
async function programAll(node: Bench, peers: readonly Peer[]): Promise<object> {
  const before = performance.now();
  putPeers(node.store, peers);
  const committed = performance.now();
  await eventually(
    async () => {
      const { leaseCounts, reconcile } = await node.agent.state();
      return leaseCounts.used === peers.length + 1 && reconcile.settled;
    },
    { within: 60_000, what: "all peers are programmed" },
  );
  const { lastApply } = await node.agent.state();
  return {
    peers: peers.length,
    entries: await counts(node),
    snapshotToProgrammedMs: round(lastApply?.durationMs ?? Number.NaN),
    storeToSettledMs: round(performance.now() - committed),
    commitMs: round(committed - before),
  };
}

/** The same entries by iproute2's batch modes, on a device of the same kind in a namespace of its own. */
async function programByBatch(node: Bench, folder: string, peers: readonly Peer[]): Promise<object> {
  await node.agent.ns.exec([
    "ip",
    "link",
    "add",
    "other",
    "type",
    "vxlan",
    "id",
    "99",
    "dstport",
    "9999",
    "local",
    "192.0.2.1",
    "dev",
    "eth0",
    "nolearning",
  ]);
  await node.agent.ns.exec(["ip", "link", "set", "other", "up"]);
  const files = { ip: join(folder, "ip.batch"), bridge: join(folder, "bridge.batch") };
  // Another prefix, so that the agent, which minds only its own network, has nothing to say.
  const subnet = (peer: Peer): string => peer.subnet.replace(/^10\./, "11.");
  await Bun.write(
    files.ip,
    peers
      .map(
        (peer) =>
          `neigh replace ${subnet(peer)} lladdr ${peer.mac} dev other nud permanent\nroute replace ${subnet(peer)}/24 via ${subnet(peer)} dev other onlink\n`,
      )
      .join(""),
  );
  await Bun.write(
    files.bridge,
    peers.map((peer) => `fdb replace ${peer.mac} dev other dst ${peer.publicIP} self permanent\n`).join(""),
  );
  const time = async (command: string[]): Promise<number> => {
    const started = performance.now();
    await node.agent.ns.exec(command);
    return performance.now() - started;
  };
  const ip = await time(["ip", "-batch", files.ip]);
  const bridge = await time(["bridge", "-batch", files.bridge]);
  await node.agent.ns.exec(["ip", "link", "del", "other"]);
  return { ipMs: round(ip), bridgeMs: round(bridge), totalMs: round(ip + bridge) };
}

/** One lease after the other changes its MAC and public address; the time from its commit to the changed kernel. */
async function changeOne(node: Bench, peers: readonly Peer[]): Promise<object> {
  const times: number[] = [];
  let seen: ((event: KernelEvent) => void) | undefined;
  const watch = watchKernel(node.agent.ns, (event) => seen?.(event));
  const readsBefore = (await node.agent.state()).reconcile.fullReads;
  for (let number = 0; number < CHANGES; number++) {
    const peer = makePeer(FIRST_PEER + ((number * 23) % peers.length), 1 + number);
    const { promise, resolve } = Promise.withResolvers<void>();
    const missing = new Set(["neighbour", "forwarding"]);
    seen = (event) => {
      if (event.kind === "neighbour" && event.value.mac === peer.mac) missing.delete("neighbour");
      if (event.kind === "forwarding" && event.value.mac === peer.mac && event.value.destination === peer.publicIP)
        missing.delete("forwarding");
      if (missing.size === 0) resolve();
    };
    putPeers(node.store, [peer]);
    // The lease is another one once it is committed, which takes the writer a write to disk.
    const started = performance.now();
    await promise;
    times.push(performance.now() - started);
    await sleep(20);
  }
  watch.close();
  return {
    changes: CHANGES,
    p50Ms: round(percentile(times, 0.5)),
    p99Ms: round(percentile(times, 0.99)),
    maxMs: round(Math.max(...times)),
    fullReadsMeanwhile: (await node.agent.state()).reconcile.fullReads - readsBefore,
  };
}

/** How long every route, or the whole device, is away after somebody removed it. */
async function repair(node: Bench, command: string[], entries: number): Promise<number> {
  let added = 0;
  const { promise, resolve } = Promise.withResolvers<void>();
  const watch = watchKernel(node.agent.ns, (event) => {
    if (event.kind === "route" && !event.deleted && ++added === entries) resolve();
  });
  const started = performance.now();
  await node.agent.ns.exec(command);
  await promise;
  watch.close();
  return round(performance.now() - started);
}

async function idle(node: Bench): Promise<object> {
  const before = await cpuSeconds(node.agent.pid);
  await sleep(IDLE_SECONDS * 1000);
  return {
    seconds: IDLE_SECONDS,
    percentOfACore: round((((await cpuSeconds(node.agent.pid)) - before) / IDLE_SECONDS) * 100),
  };
}

/** The agent with thousands of peers in a network namespace, beside iproute2 doing the same there. */
export async function benchKernel(folder: string): Promise<object> {
  const peers = makePeers();
  using overlay = new Overlay(folder);
  say("starting an agent in a network namespace");
  await overlay.create(1, { Network: "10.0.0.0/8", SubnetLen: 24, Backend: { Type: "vxlan" } });
  await overlay.start();
  const node: Bench = { agent: overlay.node(1).agent, store: openStore(overlay.store) };
  const alone = await memoryOf(node.agent.pid);
  say(`${peers.length} peers by the agent`);
  const program = await programAll(node, peers);
  say("the same entries by ip -batch and bridge -batch");
  const batch = await programByBatch(node, folder, peers);
  say(`${CHANGES} single changes among ${peers.length} peers`);
  const change = await changeOne(node, peers);
  say("drift: all routes flushed, the device deleted");
  const repaired = {
    routesFlushedMs: await repair(node, ["ip", "route", "flush", "dev", "flannel.1"], peers.length),
    deviceDeletedMs: await repair(node, ["ip", "link", "del", "flannel.1"], peers.length),
  };
  await node.agent.settled(peers.length + 1);
  say(`idle for ${IDLE_SECONDS} s`);
  const rest = await idle(node);
  const memory = { alone, withPeers: await memoryOf(node.agent.pid) };
  node.store.close();
  await node.agent.stop();
  return { program, batch, change, repair: repaired, memory, idle: rest };
}

import { existsSync } from "node:fs";
import { sleep } from "../../src/base/backoff.ts";
import { openStore, type TestAgent } from "../support/agent.ts";
import { Overlay } from "../support/overlay.ts";
import { eventually } from "../support/wait.ts";
import { answerForPeers } from "./answering-peers.ts";
import { cpuSeconds, memoryOf, round, say } from "./measure.ts";
import { makePeers, putPeers } from "./peers.ts";

/** What all of it on may cost more than all of it off. */
const MOST = { percentOfACore: 0.3, megabytes: 10 };
const SCRAPE_SECONDS = 15;
const WINDOW_SECONDS = 60;
const WINDOWS = Number(process.env["BENCH_WINDOWS"] ?? 5);
/** The first rounds and scrapes are made by code that is new to the JIT, and the memory of the start is given back. */
const WARM_UP_SECONDS = 60;

/** As Prometheus asks. */
const PROMETHEUS = {
  accept: "application/openmetrics-text;version=1.0.0;q=0.6,text/plain;version=0.0.4;q=0.4,*/*;q=0.1",
  "accept-encoding": "gzip",
  "user-agent": "Prometheus/3.0.0",
};

/** Scrapes, and reads the stream of events, until the signal. @returns what came */
async function observe(agent: TestAgent, signal: AbortSignal): Promise<{ scrapes: number; streamedBytes: number }> {
  const seen = { scrapes: 0, streamedBytes: 0 };
  const read = async (): Promise<void> => {
    const { body } = await agent.raw("/debug/events?follow=true", { signal });
    for await (const chunk of body ?? []) seen.streamedBytes += chunk.byteLength;
  };
  const reading = read().catch((error: unknown) => {
    if (!signal.aborted) throw error;
  });
  while (!signal.aborted) {
    await (await agent.raw("/metrics", { headers: PROMETHEUS })).arrayBuffer();
    seen.scrapes++;
    await sleep(SCRAPE_SECONDS * 1000, signal);
  }
  await reading;
  return seen;
}

async function routesOf({ ns }: TestAgent): Promise<number> {
  return (await ns.exec(["ip", "route", "show", "dev", "flannel.1"])).split("\n").filter(Boolean).length;
}

interface Window {
  readonly percentOfACore: number;
  /** of samples spread over the window: the memory goes up and down by a fifth with each resync */
  readonly megabytes: number;
}

/** CPU and memory of some agents over the same time, so that what else the machine does hits all of them alike. */
async function windowOf(agents: readonly TestAgent[]): Promise<Window[]> {
  const before = await Promise.all(agents.map(({ pid }) => cpuSeconds(pid)));
  const memory = agents.map((): number[] => []);
  const started = performance.now();
  for (let second = 0; second < WINDOW_SECONDS; second++) {
    await sleep(1_000);
    for (const [index, { pid }] of agents.entries()) memory[index]?.push((await memoryOf(pid)).residentMB);
  }
  const seconds = (performance.now() - started) / 1000;
  return Promise.all(
    agents.map(async ({ pid }, index) => ({
      percentOfACore: (((await cpuSeconds(pid)) - (before[index] ?? 0)) / seconds) * 100,
      megabytes: mean(memory[index] ?? []),
    })),
  );
}

function figures(windows: readonly Window[]) {
  const cpu = windows.map(({ percentOfACore }) => percentOfACore);
  const memory = windows.map(({ megabytes }) => megabytes);
  return {
    percentOfACore: round(mean(cpu)),
    percentOfACoreByWindow: cpu.map(round),
    megabytes: round(mean(memory)),
    megabytesByWindow: memory.map(round),
  };
}

function mean(values: readonly number[]): number {
  return values.reduce((sum, one) => sum + one, 0) / values.length;
}

/**
 * What it costs to see: an agent with thousands of peers that answer, its probes at their usual interval, scraped every 15 s and
 * with one reader of its events, beside one with the same peers and none of that, at the same time.
 */
export async function benchObserve(folder: string): Promise<object> {
  const peers = makePeers();
  using overlay = new Overlay(folder);
  say("starting two agents, each in a network namespace");
  await overlay.create(1, { Network: "10.0.0.0/8", SubnetLen: 24, Backend: { Type: "vxlan" } }, ["--probe-interval=0"]);
  await overlay.addNode(2);
  const [off, on] = [overlay.node(1).agent, overlay.node(2).agent];
  const within = 60_000;
  for (const agent of [off, on]) {
    agent.spawn();
    await eventually(() => existsSync(agent.subnetFile), { within, what: "an agent has its lease" });
  }
  await answerForPeers(overlay, 250);
  const store = openStore(overlay.store);
  putPeers(store, peers);
  store.close();
  // Whoever asks an agent has it load what answers, so the kernel is looked at instead.
  for (const agent of [off, on])
    await eventually(async () => (await routesOf(agent)) > peers.length, { within, what: "the peers are programmed" });
  const end = new AbortController();
  const observed = observe(on, end.signal);
  say(`${peers.length} peers; ${WARM_UP_SECONDS} s to warm up, then ${WINDOWS} times ${WINDOW_SECONDS} s`);
  await sleep(WARM_UP_SECONDS * 1000);
  const windows: Window[][] = [];
  for (let count = 0; count < WINDOWS; count++) windows.push(await windowOf([off, on]));
  const metrics = await (await on.raw("/metrics")).text();
  const value = (series: string): number =>
    Number(
      metrics
        .split("\n")
        .find((line) => line.startsWith(`${series} `))
        ?.split(" ")[1],
    );
  const probes = {
    sent: value('tartan_probe_requests_total{family="ipv4",path="overlay"}'),
    answered: value('tartan_probe_replies_total{family="ipv4",path="overlay"}'),
    peersUp: value('tartan_peers{state="up"}'),
  };
  end.abort();
  const seen = await observed;
  const [allOff, allOn] = [0, 1].map((which) => figures(windows.flatMap((window) => window[which] ?? [])));
  await Promise.all([off.stop(), on.stop()]);
  const more = {
    percentOfACore: round((allOn?.percentOfACore ?? Number.NaN) - (allOff?.percentOfACore ?? Number.NaN)),
    megabytes: round((allOn?.megabytes ?? Number.NaN) - (allOff?.megabytes ?? Number.NaN)),
  };
  return { peers: peers.length, allOff, allOn, more, most: MOST, probes, ...seen };
}

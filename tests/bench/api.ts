import { RESOURCES } from "../../src/api/resources.ts";
import { sleep } from "../../src/base/backoff.ts";
import { openStore, type TestAgent } from "../support/agent.ts";
import { Overlay } from "../support/overlay.ts";
import { memoryOf, percentile, round, say } from "./measure.ts";
import { makePeers, putPeers } from "./peers.ts";

/** What each answer has to stay below, in milliseconds. */
const BOUND_MS = 50;
const REQUESTS = 100;

interface Timing {
  readonly p50Ms: number;
  readonly p99Ms: number;
  readonly kB: number;
  /** the worst of what somebody else's /healthz took meanwhile, which waits whenever the agent does one thing in one go */
  readonly othersWaitMs: number;
}

async function time(agent: TestAgent, path: string): Promise<Timing> {
  const times: number[] = [];
  const others: number[] = [];
  let bytes = 0;
  const ask = async (at: string, into: number[]): Promise<number> => {
    const started = performance.now();
    const { byteLength } = await (await agent.raw(at)).arrayBuffer();
    into.push(performance.now() - started);
    return byteLength;
  };
  let done = false;
  const other = (async () => {
    while (!done) {
      await ask("/healthz", others);
      await sleep(1);
    }
  })();
  await ask(path, []);
  for (let count = 0; count < REQUESTS; count++) {
    bytes = await ask(path, times);
    await sleep(2);
  }
  done = true;
  await other;
  return {
    p50Ms: round(percentile(times, 0.5)),
    p99Ms: round(percentile(times, 0.99)),
    kB: round(bytes / 1000),
    othersWaitMs: round(Math.max(...others)),
  };
}

/** Every endpoint of an agent with thousands of peers in a network namespace. */
export async function benchApi(folder: string): Promise<object> {
  const peers = makePeers();
  using overlay = new Overlay(folder);
  say("starting an agent in a network namespace");
  await overlay.create(1, { Network: "10.0.0.0/8", SubnetLen: 24, Backend: { Type: "vxlan" } });
  await overlay.start();
  const { agent } = overlay.node(1);
  const store = openStore(overlay.store);
  putPeers(store, peers);
  store.close();
  await agent.settled(peers.length + 1, 60_000);
  const [peer] = (await agent.leases()).filter(({ node }) => node !== "n1");
  const paths = Object.values(RESOURCES).flatMap(({ path, query }) => {
    const at = path.replace(":node", encodeURIComponent(peer?.key ?? ""));
    return [at, ...(query.some((name) => name === "limit") ? [`${at}?limit=10000`] : [])];
  });
  const memory = { before: await memoryOf(agent.pid), after: {} };
  const endpoints: Record<string, Timing> = {};
  for (const path of [...paths, "/openapi.json", "/healthz", "/readyz"]) {
    say(`${REQUESTS} times ${path}`);
    endpoints[path] = await time(agent, path);
  }
  memory.after = await memoryOf(agent.pid);
  const slow = Object.keys(endpoints).filter((path) => (endpoints[path]?.p99Ms ?? 0) > BOUND_MS);
  await agent.stop();
  return { peers: peers.length, boundMs: BOUND_MS, aboveIt: slow, endpoints, memory };
}

import { sleep } from "../../src/base/backoff.ts";
import type { NodeInOverlay } from "../support/overlay.ts";
import { memoryOf, round, watchKernel } from "./measure.ts";

/** how long after the start memory is looked at again, in seconds */
export const SETTLE_SECONDS = 20;
const KINDS = ["route", "neighbour", "forwarding"] as const;

/**
 * Starts a node's agent beside a source that holds the peers, and starts it again.
 * @param meanwhile what else is to be measured while it runs the first time
 * @returns figures, those of `meanwhile` among them
 */
export async function timeStarts(
  node: NodeInOverlay,
  peers: number,
  meanwhile: () => Promise<object> = async () => ({}),
): Promise<object> {
  const startToProgrammedMs = await start(node, peers);
  const { peakMB } = await memoryOf(node.agent.pid);
  const more = await meanwhile();
  await sleep(SETTLE_SECONDS * 1000);
  const { residentMB: settledMB } = await memoryOf(node.agent.pid);
  await node.agent.stop();
  const restartToReadyMs = await startAgain(node, peers);
  await node.agent.stop();
  return { startToProgrammedMs, restartToReadyMs, peakMB, settledMB, ...more };
}

/** @returns milliseconds from the start of the process to the last entry in the kernel */
async function start({ agent, ns }: NodeInOverlay, peers: number): Promise<number> {
  const { promise, resolve } = Promise.withResolvers<void>();
  const left = { route: peers, neighbour: peers, forwarding: peers };
  const watch = watchKernel(ns, (event) => {
    if (event.deleted) return;
    const kind = KINDS.find((one) => one === event.kind);
    if (kind !== undefined) left[kind]--;
    if (KINDS.every((one) => left[one] <= 0)) resolve();
  });
  const started = performance.now();
  agent.spawn();
  await promise;
  const took = performance.now() - started;
  watch.close();
  await agent.ready(60_000);
  return round(took);
}

/** @returns milliseconds until an agent that finds everything in the kernel is ready */
async function startAgain({ agent }: NodeInOverlay, peers: number): Promise<number> {
  const started = performance.now();
  agent.spawn();
  await agent.ready(60_000);
  const took = performance.now() - started;
  await agent.settled(peers + 1, 60_000);
  return round(took);
}

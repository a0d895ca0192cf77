import { join } from "node:path";
import * as v from "valibot";
import { sleep } from "../../src/base/backoff.ts";
import { KubeCluster } from "../support/kube.ts";
import { kubernetesMissing } from "../support/kube-binaries.ts";
import type { Netns } from "../support/netns.ts";
import { Overlay } from "../support/overlay.ts";
import { createNodes, heartbeat } from "./kube-nodes.ts";
import { memoryOf, round, say } from "./measure.ts";
import { makePeers } from "./peers.ts";
import { SETTLE_SECONDS, timeStarts } from "./starts.ts";

const HEARTBEATS = 500;

/**
 * An agent beside a real API server with thousands of realistic Nodes: from its start to the last entry in the kernel,
 * its memory, and what a heartbeat of a kubelet costs it; beside it a program that watches whole Nodes.
 * @returns figures, or why there are none
 */
export async function benchKubernetes(folder: string): Promise<object> {
  const peers = makePeers();
  const missing = kubernetesMissing();
  if (missing !== undefined) return { skipped: `needs ${missing}` };
  using overlay = new Overlay(folder);
  await overlay.create(0, { Network: "10.0.0.0/8", Backend: { Type: "vxlan" } });
  say("starting an API server");
  const ns = await overlay.addHost(250);
  await using cluster = await KubeCluster.start({ place: { ns, address: "192.0.2.250" } });
  const token = await cluster.token();
  const kubeconfig = await cluster.kubeconfig({ token });
  overlay.leases = ["--kube-subnet-mgr", `--kubeconfig-file=${kubeconfig}`, `--net-config-path=${overlay.netConf}`];
  const node = await overlay.addNode(1);
  say(`making ${peers.length} Nodes`);
  const nodeBytes = await createNodes(cluster, peers);
  await cluster.createNode("n1", { spec: { podCIDR: "10.1.1.0/24", podCIDRs: ["10.1.1.0/24"] } });
  say("an agent starts, and starts again");
  const agent = await timeStarts(node, peers.length, () => costOfHeartbeats(cluster, node.ns, peers.length));
  say("a watch of whole Nodes");
  const whole = await watchWhole(cluster, overlay, token, peers.length);
  return {
    nodes: peers.length,
    nodeBytes,
    agent,
    wholeNodes: whole,
  };
}

const Links = v.tuple([v.object({ stats64: v.object({ rx: v.object({ bytes: v.number() }) }) })]);

async function received(ns: Netns): Promise<number> {
  const text = await ns.exec(["ip", "-s", "-j", "link", "show", "eth0"]);
  return v.parse(Links, JSON.parse(text))[0].stats64.rx.bytes;
}

/** What arrives at a namespace, encryption and acknowledgements included, for each kubelet that says that all is well. */
async function costOfHeartbeats(
  cluster: KubeCluster,
  ns: Netns,
  nodes: number,
): Promise<{ bytesPerHeartbeat: number }> {
  await sleep(1000);
  const before = await received(ns);
  for (let number = 0; number < HEARTBEATS; number++) await heartbeat(cluster, (number * 7) % nodes);
  await sleep(1000);
  return { bytesPerHeartbeat: round(((await received(ns)) - before) / HEARTBEATS) };
}

const Listed = v.object({ listedMs: v.number(), nodes: v.number() });

async function watchWhole(cluster: KubeCluster, overlay: Overlay, token: string, nodes: number): Promise<object> {
  const ns = await overlay.addHost(200);
  const script = join(import.meta.dir, "full-watch.ts");
  const command = [process.execPath, "run", script, cluster.url, cluster.authority.ca, token];
  const child = ns.spawn(command, { stdin: "ignore", stdout: "pipe", stderr: "inherit" });
  const reader = child.stdout.getReader();
  const { value } = await reader.read();
  const { listedMs } = v.parse(Listed, JSON.parse(new TextDecoder().decode(value)));
  const { peakMB } = await memoryOf(child.pid);
  const heartbeats = await costOfHeartbeats(cluster, ns, nodes);
  await sleep(SETTLE_SECONDS * 1000);
  const { residentMB: settledMB } = await memoryOf(child.pid);
  child.kill();
  return { listedMs: round(listedMs), peakMB, settledMB, ...heartbeats };
}

import * as v from "valibot";
import { inParallel } from "../../src/cli/lab/parallel.ts";
import { base64, EtcdServer, etcdMissing } from "../support/etcd.ts";
import { Overlay } from "../support/overlay.ts";
import { TcpRelay } from "../support/tcp-relay.ts";
import { say } from "./measure.ts";
import { makePeers, type Peer, peerValue } from "./peers.ts";
import { timeStarts } from "./starts.ts";

const PREFIX = "/coreos.com/network";
const CONFIG = { Network: "10.0.0.0/8", SubnetLen: 24, SubnetMin: "10.1.0.0", Backend: { Type: "vxlan" } };
const DAY_SECONDS = "86400";
/** requests under way at once */
const WORKERS = 32;

/**
 * An agent beside a real etcd with thousands of leases, each on an etcd lease of its own, as flannel makes them.
 * @returns figures, or why there are none
 */
export async function benchEtcd(folder: string): Promise<object> {
  const missing = etcdMissing();
  if (missing !== undefined) return { skipped: `needs ${missing}` };
  const peers = makePeers();
  using overlay = new Overlay(folder);
  await overlay.create(0);
  say("starting etcd");
  const place = { ns: await overlay.addHost(250), address: "192.0.2.250" };
  await using etcd = await EtcdServer.start({ place });
  await etcd.ctl(["put", `${PREFIX}/config`, JSON.stringify(CONFIG)]);
  say(`making ${peers.length} leases`);
  await putLeases(etcd, place, peers);
  overlay.leases = [`--etcd-endpoints=${etcd.endpoint}`];
  const node = await overlay.addNode(1);
  say("an agent starts, and starts again");
  return { leases: peers.length, agent: await timeStarts(node, peers.length) };
}

const Granted = v.object({ ID: v.string() });

async function putLeases(
  { port }: EtcdServer,
  place: ConstructorParameters<typeof TcpRelay>[1],
  peers: readonly Peer[],
): Promise<void> {
  using relay = new TcpRelay(port, place);
  const { signal } = new AbortController();
  const post = async (path: string, body: object): Promise<unknown> => {
    const url = `http://127.0.0.1:${relay.port}/v3/${path}`;
    const response = await fetch(url, { method: "POST", body: JSON.stringify(body) });
    if (!response.ok) throw new Error(`etcd's ${path}: HTTP ${response.status}: ${await response.text()}`);
    return response.json();
  };
  await inParallel(peers, { limit: WORKERS, signal }, async (peer) => {
    const { ID: lease } = v.parse(Granted, await post("lease/grant", { TTL: DAY_SECONDS }));
    await post("kv/put", { key: base64(`${PREFIX}/subnets/${peer.key}`), value: base64(peerValue(peer)), lease });
  });
}

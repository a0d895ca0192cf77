// From flannel to tartan and back, node by node. flanneld is not among what this project can get: tests/support/flannel
// replays what its source does, on the real kernel, iptables, lease store and CNI plugins.
import { afterAll, beforeAll, expect, test } from "bun:test";
import { mkdirSync, readFileSync } from "node:fs";
import * as v from "valibot";
import { type Conflist, type Pod, sampleConflist } from "../support/cni.ts";
import { describeWithEtcd, EtcdServer } from "../support/etcd.ts";
import { podCIDR } from "../support/flannel/annotations.ts";
import { Flanneld } from "../support/flannel/flanneld.ts";
import { flannelIptables } from "../support/flannel/iptables.ts";
import { EtcdLeases, type FlannelLeases, KubeLeases } from "../support/flannel/leases.ts";
import { flannelConflist, MigratingRunner } from "../support/flannel/plugin.ts";
import { KubeCluster } from "../support/kube.ts";
import { describeWithKubernetes } from "../support/kube-binaries.ts";
import { Netns } from "../support/netns.ts";
import { type NodeInOverlay, Overlay } from "../support/overlay.ts";
import { Pings, withoutLoss } from "../support/ping.ts";
import { describeInNamespaces } from "../support/requires.ts";
import { rulesetOf } from "../support/ruleset.ts";
import { TemporaryFolder } from "../support/temp.ts";

const NUMBERS = [1, 2, 3] as const;
const HOST_PORT = 8080;
const SERVERS = 250;
const Links = v.tuple([v.object({ ifindex: v.number(), address: v.string(), mtu: v.number() })]);

/** A node with what is beside the agent on it. */
interface Node extends NodeInOverlay {
  readonly name: string;
  readonly subnet: string;
  readonly flanneld: Flanneld;
  readonly runner: MigratingRunner;
  readonly list: Conflist;
}

/** A lease store in which flannel's nodes are, and the flags with which the agent takes part. */
interface Store extends AsyncDisposable {
  readonly leases: FlannelLeases;
  readonly flags: readonly string[];
}

const subnetOf = (number: number) => `10.244.${number}.0/24`;

async function startEtcd(overlay: Overlay): Promise<Store> {
  const etcd = await EtcdServer.start({ place: { ns: await overlay.addHost(SERVERS), address: `192.0.2.${SERVERS}` } });
  await etcd.ctl(["put", "/coreos.com/network/config", '{"Network":"10.244.0.0/16","Backend":{"Type":"vxlan"}}']);
  return {
    leases: new EtcdLeases(etcd, NUMBERS.map(subnetOf)),
    flags: [`--etcd-endpoints=${etcd.endpoint}`],
    [Symbol.asyncDispose]: () => etcd[Symbol.asyncDispose](),
  };
}

async function startKubernetes(overlay: Overlay): Promise<Store> {
  const place = { ns: await overlay.addHost(SERVERS), address: `192.0.2.${SERVERS}` };
  const cluster = await KubeCluster.start({ place });
  const kubeconfig = await cluster.kubeconfig({ token: await cluster.token() });
  for (const number of NUMBERS) await cluster.createNode(`n${number}`, { spec: podCIDR(subnetOf(number)) });
  const names = NUMBERS.map((number) => `n${number}`);
  return {
    leases: new KubeLeases(cluster, names),
    flags: ["--kube-subnet-mgr", `--kubeconfig-file=${kubeconfig}`, `--net-config-path=${overlay.netConf}`],
    [Symbol.asyncDispose]: () => cluster[Symbol.asyncDispose](),
  };
}

function migration(startStore: (overlay: Overlay) => Promise<Store>): void {
  let folder: TemporaryFolder;
  let overlay: Overlay;
  let store: Store;
  let nodes: Node[] = [];
  let pings: Pings;
  const pods = new Map<string, Pod & { readonly ns: Netns }>();
  /** of a node as flannel made it, by the node's name */
  const made = new Map<string, string>();
  let records: Readonly<Record<string, unknown>>;

  beforeAll(async () => {
    folder = new TemporaryFolder();
    overlay = new Overlay(folder.path);
    await overlay.create(0);
    store = await startStore(overlay);
    overlay.leases = store.flags;
    nodes = await Promise.all(NUMBERS.map(addNode));
  }, 60_000);

  // Before the folder goes: what still runs would write into it again.
  afterAll(async () => {
    for (const { ns } of pods.values()) ns[Symbol.dispose]();
    await store?.[Symbol.asyncDispose]();
    overlay[Symbol.dispose]();
    folder[Symbol.dispose]();
  });

  async function addNode(number: number): Promise<Node> {
    const name = `n${number}`;
    const node = await overlay.addNode(number, ["--ip-masq"]);
    const { ns, agent } = node;
    const { subnetFile } = agent;
    const place = folder.at(`on-${name}`);
    mkdirSync(place);
    const sample = flannelConflist(sampleConflist(place));
    const plugins = sample.plugins.map((one) => (one.type === "flannel" ? { ...one, subnetFile } : one));
    return {
      ...node,
      name,
      subnet: subnetOf(number),
      flanneld: new Flanneld({ ns, name, publicIP: `192.0.2.${number}`, subnetFile }, store.leases),
      runner: new MigratingRunner(ns, place),
      list: { ...sample, plugins },
    };
  }

  function pod(containerId: string, capabilities = {}): Pod {
    const ns = new Netns();
    const made = { ns, containerId, netns: ns.path, capabilities };
    pods.set(containerId, made);
    return made;
  }

  async function add({ runner, list }: Node, one: Pod): Promise<string> {
    return (await runner.add(list, one)).ips[0]?.address.replace(/\/24$/, "") ?? "";
  }

  const link = async ({ ns }: Node) =>
    v.parse(Links, JSON.parse(await ns.exec(["ip", "-j", "link", "show", "flannel.1"])))[0];

  const first = (): Node => nodes[0] ?? fail();
  const othersThan = (node: Node) => nodes.filter((other) => other !== node);

  /** All of a node that flanneld or the agent makes there. */
  async function stateOf({ ns, agent }: Node): Promise<string> {
    const lines = await Promise.all([
      ns.exec(["ip", "-d", "link", "show", "flannel.1"]),
      ns.exec(["ip", "-4", "address", "show", "flannel.1"]),
      ns.exec(["ip", "route", "show", "dev", "flannel.1"]),
      ns.exec(["ip", "neighbour", "show", "dev", "flannel.1", "nud", "permanent"]).then(inOrder),
      ns.exec(["bridge", "fdb", "show", "dev", "flannel.1"]).then(inOrder),
      ...["nat", "filter"].map(async (table) =>
        (await rulesOf(ns, table)).filter((line) => /flannel/i.test(line)).join("\n"),
      ),
    ]);
    return [...lines, readFileSync(agent.subnetFile, "utf8")].join("\n");
  }

  test("three nodes as flannel makes them: their pods reach each other", async () => {
    for (const { flanneld } of nodes) await flanneld.start();
    for (const { flanneld } of nodes) await flanneld.follow();
    for (const [index, node] of nodes.entries()) {
      // As Docker does: what passes, passes by flannel's rules.
      await node.ns.exec(["iptables-nft", "-w", "-P", "FORWARD", "DROP"]);
      const portMappings = [{ hostPort: HOST_PORT, containerPort: 80, protocol: "tcp" }];
      node.podAddress = await add(node, { containerId: `web${index}`, netns: node.pod.path });
      const old = pod(`old${index}`, { portMappings });
      expect(await add(node, old)).toBe(node.podAddress.replace(/2$/, "3"));
    }
    const { nat, filter } = flannelIptables(4, "10.244.0.0/16", first().subnet);
    expect((await first().ns.exec(["iptables-nft-save"])).split("\n")).toEqual(
      expect.arrayContaining([...nat, ...filter]),
    );
    for (const node of nodes) made.set(node.name, await stateOf(node));
    records = await store.leases.records();
    const ways = nodes.flatMap((node) =>
      othersThan(node).map((other) => ({
        from: node.pod,
        to: other.podAddress,
        name: `${node.name} to ${other.name}`,
      })),
    );
    pings = new Pings(ways);
    await pings.lossless();
  });

  test.each([...NUMBERS])("n%d is taken over: nothing is made anew, and no packet is lost", async (number) => {
    const node = nodes[number - 1] ?? fail();
    const { ns, agent } = node;
    const [device, handles] = [await link(node), await handlesOf(ns)];
    const others = await Promise.all(othersThan(node).map(stateOf));

    // The plugin takes its place before the agent starts.
    node.runner.plugin = "tartan's";
    await agent.start();
    await agent.settled(NUMBERS.length);

    expect(await link(node)).toEqual(device);
    // Each rule is the one that flannel made: none was away for a moment.
    expect(await handlesOf(ns)).toEqual(handles);
    const { rules, failures } = await agent.state();
    expect(rules).toMatchObject({ writes: 0, inPlace: { ipv4: true }, errors: [], warnings: [] });
    expect(failures).toEqual([]);
    expect(await store.leases.records()).toEqual(records);
    expect(readFileSync(agent.subnetFile, "utf8")).toBe(
      `FLANNEL_NETWORK=10.244.0.0/16\nFLANNEL_SUBNET=${node.subnet.replace("0/24", "1/24")}\nFLANNEL_MTU=1450\nFLANNEL_IPMASQ=true\nTARTAN_DEVICES=flannel.1\n`,
    );
    expect(await Promise.all(othersThan(node).map(stateOf))).toEqual(others);
    await pings.lossless();
  });

  test("a pod that flannel's plugin made is deleted by ours, and a new one is reached by all", async () => {
    const node = first();
    const { ns, runner, list } = node;
    const forwards = async () => (await rulesOf(ns, "nat")).filter((line) => line.includes(`--dport ${HOST_PORT}`));
    expect(await forwards()).not.toEqual([]);
    await runner.del(list, pods.get("old0") ?? fail());
    expect(runner.records()).toEqual(["web0"]);
    expect(runner.addresses()).toEqual([node.podAddress]);
    expect(await forwards()).toEqual([]);
    const address = await add(node, pod("new0"));
    for (const other of nodes) await withoutLoss(other.pod, address, async () => {});
    await pings.lossless();
  });

  test.each([...NUMBERS])("n%d is handed back: flanneld keeps what it finds, and no packet is lost", async (number) => {
    const node = nodes[number - 1] ?? fail();
    const { ns, agent, flanneld } = node;
    const device = await link(node);
    const stillOurs = othersThan(node).filter(({ runner }) => runner.plugin === "tartan's");
    const others = await Promise.all(othersThan(node).map(stateOf));

    expect(await agent.stop()).toBe(0);
    node.runner.plugin = "flannel's";
    // flanneld empties its chains before it fills them: with that policy, packets are lost at each of its own restarts, too.
    await ns.exec(["iptables-nft", "-w", "-P", "FORWARD", "ACCEPT"]);
    await flanneld.start();
    await ns.exec(["iptables-nft", "-w", "-P", "FORWARD", "DROP"]);

    expect(await link(node)).toEqual(device);
    expect(await store.leases.records()).toEqual(records);
    expect(await Promise.all(othersThan(node).map(stateOf))).toEqual(others);
    for (const { agent: other } of stillOurs) {
      await other.ready();
      await other.settled(NUMBERS.length);
      expect((await other.state()).reconcile.repaired).toEqual({});
    }
    // Of the agent's own only the mark on the device is left.
    expect((await stateOf(node)).replace(/\n *alias tartan/, "")).toBe(made.get(node.name) ?? "");
    await pings.lossless();
  });

  test("a pod that our plugin made is deleted by flannel's, and a new one is reached by all", async () => {
    const node = first();
    const { runner, list } = node;
    await runner.del(list, pods.get("new0") ?? fail());
    expect(runner.records()).toEqual(["web0"]);
    expect(runner.addresses()).toEqual([node.podAddress]);
    const address = await add(node, pod("newer0"));
    for (const other of nodes) await withoutLoss(other.pod, address, async () => {});
  });

  test("of all packets between the pods, from before the first step to now, none was lost", async () => {
    const results = await pings.stop();
    expect(results.size).toBe(NUMBERS.length * (NUMBERS.length - 1));
    expect([...results].filter(([, { sent, received }]) => received !== sent)).toEqual([]);
  });
}

async function rulesOf(ns: Netns, table: string): Promise<string[]> {
  return (await ns.exec(["iptables-nft-save", "-t", table])).split("\n");
}

/** Every rule of IPv4 with the number that it keeps until it is deleted. */
async function handlesOf(ns: Netns): Promise<string[]> {
  const text = await rulesetOf(ns, "ip");
  expect(text).toContain("FLANNEL-POSTRTG");
  return text.split("\n");
}

/** The kernel tells entries in the order of a hash table, which grows as others on the machine add to theirs. */
const inOrder = (text: string): string => text.trim().split("\n").sort().join("\n");

function fail(): never {
  throw new Error("there is no such node");
}

describeInNamespaces("from flannel to tartan and back, node by node", () => {
  describeWithEtcd("with leases in etcd", () => migration(startEtcd));
  describeWithKubernetes("with leases in Kubernetes", () => migration(startKubernetes));
});

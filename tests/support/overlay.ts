import { join } from "node:path";
import type { Family, PerFamily } from "../../src/net/family.ts";
import { TestAgent } from "./agent.ts";
import { readEnvironmentFile } from "./environment-file.ts";
import { addAddress, Netns, pair } from "./netns.ts";
import { type Ping, type PingResult, withoutLoss } from "./ping.ts";

export interface NodeInOverlay {
  readonly ns: Netns;
  readonly agent: TestAgent;
  /** a pod behind the bridge cni0 */
  readonly pod: Netns;
  /** of the overlay's first family */
  podAddress: string;
  podAddresses: PerFamily<string>;
}

/** The addresses of the node of that number under the overlay. */
const underlay: Readonly<Record<Family, (number: number) => string>> = {
  4: (number) => `192.0.2.${number}/24`,
  6: (number) => `2001:db8::${number.toString(16)}/64`,
};

const RANGES: Readonly<Record<Family, object>> = {
  4: { Network: "10.244.0.0/16" },
  6: { EnableIPv6: true, IPv6Network: "fd00:10:244::/48" },
};

/**
 * Nodes on one switch, each with an agent and, once `attachPods` was called, a pod. All addresses are the overlay's own:
 * 192.0.2.0/24 and 2001:db8::/64 under it, 10.244.0.0/16 and fd00:10:244::/48 in it, as far as it has the families.
 */
export class Overlay implements Disposable {
  readonly store: string;
  readonly netConf: string;
  readonly nodes: NodeInOverlay[] = [];
  /** flags of the nodes that are added from now on, for another lease source than the embedded store */
  leases: readonly string[] | undefined;
  readonly #hosts: Netns[] = [];
  readonly #folder: string;
  readonly #families: readonly Family[];
  readonly #switch = new Netns();

  /** @param folder for the store and the agents' files */
  constructor(folder: string, families: readonly Family[] = [4]) {
    this.#folder = folder;
    this.#families = families;
    this.store = join(folder, "leases.db");
    this.netConf = join(folder, "net-conf.json");
  }

  /** @param netConf instead of the usual one for the overlay's families */
  async create(nodes: number, netConf?: object, flags: readonly string[] = []): Promise<void> {
    const usual = {
      ...(this.#families.includes(4) ? {} : { EnableIPv4: false }),
      ...Object.assign({}, ...this.#families.map((family) => RANGES[family])),
      Backend: { Type: "vxlan" },
    };
    await Bun.write(this.netConf, JSON.stringify(netConf ?? usual));
    await this.#switch.exec(["ip", "link", "add", "br0", "type", "bridge"]);
    await this.#switch.exec(["ip", "link", "set", "br0", "up"]);
    for (let number = 1; number <= nodes; number++) await this.addNode(number, flags);
  }

  async addNode(number: number, flags: readonly string[] = []): Promise<NodeInOverlay> {
    const name = `n${number}`;
    const ns = await this.#join(number, name);
    await ns.sysctl("ipv4.ip_forward", 1);
    if (this.#families.includes(6)) await ns.sysctl("ipv6.conf.all.forwarding", 1);
    const { store, netConf, leases } = this;
    const agent = new TestAgent({
      ns,
      folder: this.#folder,
      name,
      store,
      netConf,
      ...(leases === undefined ? {} : { leases }),
      flags,
    });
    const node = { ns, agent, pod: new Netns(), podAddress: "", podAddresses: {} };
    this.nodes.push(node);
    return node;
  }

  /** A namespace on the switch with the addresses of that number and no agent: for a server, or for a node made by hand. */
  async addHost(number: number): Promise<Netns> {
    const ns = await this.#join(number, `h${number}`);
    this.#hosts.push(ns);
    return ns;
  }

  async #join(number: number, port: string): Promise<Netns> {
    const ns = new Netns();
    await pair(
      { ns, name: "eth0", addresses: this.#families.map((family) => underlay[family](number)) },
      { ns: this.#switch, name: port },
    );
    await this.#switch.exec(["ip", "link", "set", port, "master", "br0"]);
    return ns;
  }

  /** Changes the switch's end of the cable to a node, as in `down` or `mtu 1400`: its own interface sees nothing of the latter. */
  async cable(number: number, ...settings: readonly string[]): Promise<void> {
    await this.#switch.exec(["ip", "link", "set", `n${number}`, ...settings]);
  }

  /** Starts all agents and waits until each has programmed the others. */
  async start(): Promise<void> {
    await Promise.all(this.nodes.map(({ agent }) => agent.start()));
    await Promise.all(this.nodes.map(({ agent }) => agent.settled(this.nodes.length)));
  }

  /** The node of that number, from 1. */
  node(number: number): NodeInOverlay {
    const node = this.nodes[number - 1];
    if (node === undefined) throw new RangeError(`the overlay has no node ${number}`);
    return node;
  }

  /** Gives each node's pod the second address of the node's subnets. */
  async attachPods(): Promise<void> {
    for (const node of this.nodes) {
      const { ns, agent, pod } = node;
      const file = readEnvironmentFile(agent.subnetFile);
      const mtu = file["FLANNEL_MTU"] ?? "";
      const gateways = [file["FLANNEL_SUBNET"], file["FLANNEL_IPV6_SUBNET"]].filter((gateway) => gateway !== undefined);
      const addresses = gateways.map((gateway) => gateway.replace(/1\/(\d+)$/, "2/$1"));
      await ns.exec(["ip", "link", "add", "cni0", "mtu", mtu, "type", "bridge"]);
      for (const gateway of gateways) await addAddress(ns, gateway, "cni0");
      await ns.exec(["ip", "link", "set", "cni0", "up"]);
      await pair({ ns: pod, name: "eth0", addresses }, { ns, name: "pod0" }, { mtu: Number(mtu) });
      await ns.exec(["ip", "link", "set", "pod0", "master", "cni0"]);
      for (const gateway of gateways) {
        const via = gateway.replace(/\/\d+$/, "");
        await pod.exec(["ip", ...(via.includes(":") ? ["-6"] : []), "route", "add", "default", "via", via]);
      }
      const plain = addresses.map((address) => address.replace(/\/\d+$/, ""));
      for (const address of plain) node.podAddresses[address.includes(":") ? 6 : 4] = address;
      node.podAddress = plain[0] ?? "";
    }
  }

  /**
   * Pings from node 1's pod to node 2's while something happens.
   * @throws Error if a packet was lost
   */
  withoutLoss(happening: (ping: Ping) => Promise<unknown>): Promise<PingResult> {
    return withoutLoss(this.node(1).pod, this.node(2).podAddress, happening);
  }

  [Symbol.dispose](): void {
    for (const { ns, pod } of this.nodes) {
      pod[Symbol.dispose]();
      ns[Symbol.dispose]();
    }
    for (const ns of this.#hosts) ns[Symbol.dispose]();
    this.#switch[Symbol.dispose]();
  }
}

import { vxlanDeviceName } from "../../src/desired/vxlan.ts";
import { inNetworkNamespace } from "../../src/ffi/libc.ts";
import type { Address } from "../../src/net/address.ts";
import type { Family, PerFamily } from "../../src/net/family.ts";
import { EchoCarrier } from "../../src/probe/echo-carrier.ts";
import { type OwnEnd, ProbeEngine, type ProbePeer } from "../../src/probe/engine.ts";
import { PACE, type Pace } from "../../src/probe/round.ts";
import type { TestAgent } from "../support/agent.ts";
import type { Overlay } from "../support/overlay.ts";

const UNDERLAY: Readonly<Record<Family, (number: number) => string>> = {
  4: (number) => `192.0.2.${number}`,
  6: (number) => `2001:db8::${number.toString(16)}`,
};
const OVERHEAD: Readonly<Record<Family, number>> = { 4: 50, 6: 70 };

/** The node of that number as its own lease has it. */
async function peerOf(agent: TestAgent, number: number, families: readonly Family[]): Promise<ProbePeer> {
  const lease = await agent.lease();
  const peer = { key: lease.key, node: `n${number}`, subnets: {}, publicIPs: {} } satisfies ProbePeer;
  const subnets: ProbePeer["subnets"] = peer.subnets;
  const publicIPs: PerFamily<Address> = peer.publicIPs;
  for (const family of families) {
    const subnet = (family === 4 ? lease.ipv4 : lease.ipv6).subnet;
    const [address = "", length = ""] = subnet.split("/");
    subnets[family] = { family, address: address as Address, length: Number(length) };
    publicIPs[family] = UNDERLAY[family](number) as Address;
  }
  return peer;
}

/** Probes from one node of an overlay, a round at each call: what an agent does there, without its clock. */
export class Vantage implements Disposable {
  readonly #carrier = new EchoCarrier();
  readonly #engine: ProbeEngine;
  readonly #own: PerFamily<OwnEnd>;
  readonly #namespace: string;
  #peers: readonly ProbePeer[];

  private constructor(namespace: string, own: PerFamily<OwnEnd>, peers: readonly ProbePeer[], pace: Pace) {
    this.#namespace = namespace;
    this.#own = own;
    this.#peers = peers;
    this.#engine = new ProbeEngine(this.#carrier, pace);
  }

  /** From node 1 to all others of the overlay. */
  static async of(overlay: Overlay, families: readonly Family[], pace = PACE): Promise<Vantage> {
    const peers = await Promise.all(overlay.nodes.map(({ agent }, index) => peerOf(agent, index + 1, families)));
    const [self, ...others] = peers;
    const own: PerFamily<OwnEnd> = {};
    for (const family of families) {
      const [vtep, local] = [self?.subnets[family]?.address, self?.publicIPs[family]];
      if (vtep === undefined || local === undefined) throw new Error(`node 1 has no IPv${family}`);
      const overhead = OVERHEAD[family];
      own[family] = { device: vxlanDeviceName(family, 1), port: 8472, mtu: 1500 - overhead, overhead, vtep, local };
    }
    return new Vantage(overlay.node(1).ns.path, own, others, pace);
  }

  set peers(peers: readonly ProbePeer[]) {
    this.#peers = peers;
    this.#input = undefined;
  }

  #input: Parameters<ProbeEngine["setPeers"]>[0] | undefined;

  /** @returns the changes, as in `n2 4+6: reachable to unreachable` */
  async round(): Promise<string[]> {
    this.#input ??= { peers: this.#peers, own: this.#own, isProgrammed: () => true };
    this.#engine.setPeers(this.#input);
    const sources = Object.fromEntries(
      Object.entries(this.#own).map(([family, { vtep, local }]) => [family, { overlay: vtep, underlay: local }]),
    );
    const errors = inNetworkNamespace(this.#namespace, () => this.#carrier.use(sources));
    if (errors.length > 0) throw new AggregateError(errors, "the probes can't be sent");
    const changes = await this.#engine.round(new AbortController().signal);
    return changes
      .map(({ peer, families, from, to }) => `${peer.node ?? peer.key} ${families.join("+")}: ${from} to ${to}`)
      .toSorted();
  }

  /** What is known of the node of that name. */
  facts(node: string, family: Family) {
    const facts = this.#engine.facts(this.#peers.find((peer) => peer.node === node)?.key ?? "", family);
    if (facts === undefined) throw new Error(`nothing is known of ${node}`);
    return facts;
  }

  [Symbol.dispose](): void {
    this.#carrier[Symbol.dispose]();
  }
}

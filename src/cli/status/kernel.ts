import { describeError } from "../../base/errors.ts";
import type { SubnetEnv } from "../../config/subnet-env.ts";
import { formatPrefix } from "../../net/prefix.ts";
import { kernelPeers } from "../kernel-peers.ts";
import { LocalNode, ownDevices, readSubnetEnv, rulesPresent } from "../local-node.ts";
import { plural } from "../output.ts";
import { runningAgents } from "../running-agents.ts";

/** What the node shows of itself while its agent does not answer. */
export interface KernelStatus {
  readonly devices: readonly {
    readonly name: string;
    readonly up: boolean;
    readonly mtu: number;
    readonly addresses: readonly string[];
    readonly routes: number;
    readonly neighbours: number;
    readonly forwarding: number;
  }[];
  /** peers of which a part is missing in the kernel */
  readonly incompletePeers: number;
  readonly subnetFile: { readonly path: string; readonly problem: string | null; readonly content: SubnetView | null };
  /** where the packet filter has rules of ours; null where that can't be told */
  readonly rules: Readonly<Record<string, readonly number[]>> | null;
  readonly rulesProblem: string | null;
  /** agents that run here all the same */
  readonly processes: readonly { readonly pid: number; readonly name: string }[];
}

interface SubnetView {
  readonly networks: readonly string[];
  readonly subnets: readonly string[];
  readonly mtu: number;
  readonly ipMasq: boolean;
}

/** @throws KernelError */
export function kernelStatus(subnetFile: string): KernelStatus {
  using node = new LocalNode();
  const actual = node.read();
  const rules = rulesPresent();
  const { path, content, problem } = readSubnetEnv(subnetFile);
  return {
    devices: ownDevices(actual).map(({ index, name, up, mtu }) => ({
      name,
      up,
      mtu,
      addresses: (actual.addresses.get(index) ?? []).map(({ address, length }) => `${address}/${length}`),
      routes: [...actual.routes.values()].flat().filter((route) => route.index === index && route.gateway !== undefined)
        .length,
      neighbours: [...(actual.neighbours.get(index)?.values() ?? [])].filter(({ permanent }) => permanent).length,
      forwarding: [...(actual.forwarding.get(index)?.values() ?? [])].filter(({ permanent }) => permanent).length,
    })),
    incompletePeers: kernelPeers(actual).filter(({ missing }) => missing.length > 0).length,
    subnetFile: { path, problem: problem ?? null, content: content ? viewOf(content) : null },
    rules: rules instanceof Error ? null : rules,
    rulesProblem: rules instanceof Error ? describeError(rules) : null,
    processes: runningAgents(),
  };
}

function viewOf({ networks, subnets, mtu, ipMasq }: SubnetEnv): SubnetView {
  return { networks: networks.map(formatPrefix), subnets: Object.values(subnets).map(formatPrefix), mtu, ipMasq };
}

export function kernelStatusLines(status: KernelStatus) {
  const { devices, incompletePeers, subnetFile, rules, rulesProblem, processes } = status;
  const { content, problem, path } = subnetFile;
  const places = Object.entries(rules ?? {}).flatMap(([name, families]) =>
    families.map((family) => `${name} (IPv${family})`),
  );
  return [
    {
      label: "state",
      text: `the agent does not answer: packets go as the kernel has it, and nobody follows changes; ${processes.length === 0 ? "start it" : "see its log"}`,
      colour: "red" as const,
    },
    ...processes.map(({ pid, name }) => ({
      label: "state",
      text: `${name} runs here as process ${pid}`,
      colour: "yellow" as const,
    })),
    ...(devices.length === 0 ? [{ label: "devices", text: "no VXLAN device", colour: "red" as const }] : []),
    ...devices.flatMap(({ name, up, mtu, addresses, routes, neighbours, forwarding }) => [
      {
        label: "devices",
        text: `${name} ${up ? "up" : "down"}, MTU ${mtu}, ${addresses.join(" ") || "no address"}`,
        colour: up ? undefined : ("red" as const),
      },
      {
        label: "devices",
        text: `${plural(routes, "route")}, ${plural(neighbours, "neighbour")}, ${plural(forwarding, "forwarding entry", "forwarding entries")}`,
      },
    ]),
    incompletePeers === 0
      ? { label: "peers", text: "none is incomplete in the kernel" }
      : {
          label: "peers",
          text: `${plural(incompletePeers, "peer")} incomplete: the agent mends it when it is back; tartan diff says what is missing`,
          colour: "red" as const,
        },
    content === null
      ? { label: "subnet.env", text: `${path}: ${problem}`, colour: "red" as const }
      : {
          label: "subnet.env",
          text: `${content.subnets.join(" ")} of ${content.networks.join(" ")}, MTU ${content.mtu}, masquerade ${content.ipMasq ? "on" : "off"}`,
        },
    { label: "rules", text: rulesProblem ?? (places.length === 0 ? "none of the agent" : `in ${places.join(", ")}`) },
  ];
}

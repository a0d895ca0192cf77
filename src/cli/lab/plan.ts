import { type Address, parseAddress } from "../../net/address.ts";
import type { Family, PerFamily } from "../../net/family.ts";
import { formatPrefix, makePrefix, nthAddress, type Prefix } from "../../net/prefix.ts";
import { type CniPlan, planCni } from "./cni/plan.ts";
import { labPath } from "./lab-folder.ts";
import { type LabHost, type LeaseKind, type LeasePlan, planLease, serverHost } from "./lease-plan.ts";

/** All labs' network namespaces begin with this. */
export const NAMESPACE_PREFIX = "tartan-lab-";

/** The families of a lab's pods, and of what is under their network, by how they are asked for. */
const FAMILY_SETS = { "4": [4], "6": [6], "46": [4, 6] } as const satisfies Record<string, readonly Family[]>;
export type FamilySet = keyof typeof FAMILY_SETS;
export const FAMILY_SET_NAMES = ["4", "6", "46"] as const satisfies readonly FamilySet[];

/** What the agents make their masquerade and forward rules by. */
export const RULES_MODES = ["iptables", "nft"] as const;
export type RulesMode = (typeof RULES_MODES)[number];

interface Networks {
  /** of nodes and server. Each lab has its own, behind its own switch. */
  readonly underlay: Prefix;
  /** what is behind the nodes' gateway */
  readonly outside: Prefix;
  readonly pods: Prefix;
}

/** For the first two TEST-NET-1 and -2 (RFC 5737) and the prefix of documentation (RFC 3849), which no real network uses. */
const NETWORKS: Readonly<Record<Family, Networks>> = {
  4: { underlay: network("192.0.2.0", 24), outside: network("198.51.100.0", 24), pods: network("10.244.0.0", 16) },
  6: {
    underlay: network("2001:db8::", 64),
    outside: network("2001:db8:0:1::", 64),
    pods: network("fd00:10:244::", 48),
  },
};

const SERVER_NUMBER = 250n;
const GATEWAY_NUMBER = 254n;

/** What shapes a lab. */
export interface LabShape {
  readonly nodes: number;
  readonly lease: LeaseKind;
  readonly family: FamilySet;
  readonly rules: RulesMode;
}

/** One node, its pod, and the files of its agent. */
export interface LabNode extends LabHost {
  /** network namespace */
  readonly podNamespace: string;
  /** the outside's address that this node's pod is pinged from, and pings: each has another, which tells them apart */
  readonly outside: PerFamily<Address>;
  readonly subnetFile: string;
  readonly cni: CniPlan;
  readonly debugSocket: string;
  /** on which its agent takes commands */
  readonly commandSocket: string;
  readonly logFile: string;
}

/** What a lab consists of, before any of it is made. */
export interface LabPlan {
  readonly id: string;
  readonly switchNamespace: string;
  readonly nodes: readonly LabNode[];
  readonly underlay: PerFamily<Prefix>;
  /** The nodes' gateway, and at once what is behind it. It has no route to the pods. */
  readonly outside: LabHost;
  readonly netConf: { readonly path: string; readonly content: string };
  readonly lease: LeasePlan;
}

function network(address: string, length: number): Prefix {
  const parsed = parseAddress(address);
  if (parsed === undefined) throw new TypeError(`${address} is no address`);
  return makePrefix(parsed, length);
}

/** All network namespaces of one lab begin with this. */
export function namespacePrefix(id: string): string {
  return `${NAMESPACE_PREFIX}${id}-`;
}

export function planLab(id: string, { nodes, lease, family, rules }: LabShape): LabPlan {
  const prefix = namespacePrefix(id);
  const families = FAMILY_SETS[family];
  const forEach = <T>(value: (networks: Networks) => T): PerFamily<T> =>
    Object.fromEntries(families.map((each) => [each, value(NETWORKS[each])]));
  const host = (name: string, number: bigint): LabHost => ({
    name,
    namespace: `${prefix}${name}`,
    addresses: forEach(({ underlay }) => nthAddress(underlay, number)),
  });
  const podNetworks = Object.values(forEach(({ pods }) => formatPrefix(pods)));
  return {
    id,
    switchNamespace: `${prefix}switch`,
    underlay: forEach(({ underlay }) => underlay),
    outside: host("outside", GATEWAY_NUMBER),
    netConf: { path: labPath(id, "net-conf.json"), content: `${JSON.stringify(netConf(families, rules))}\n` },
    lease: planLease(lease, id, host("server", SERVER_NUMBER), podNetworks),
    nodes: Array.from({ length: nodes }, (_, index) => {
      const number = index + 1;
      const name = `n${number}`;
      const subnetFile = labPath(id, `${name}.subnet.env`);
      return {
        ...host(name, BigInt(number)),
        podNamespace: `${prefix}pod${number}`,
        outside: forEach(({ outside }) => nthAddress(outside, BigInt(number))),
        subnetFile,
        cni: planCni(id, name, subnetFile),
        debugSocket: labPath(id, `${name}.sock`),
        commandSocket: labPath(id, `${name}.debug.sock`),
        logFile: labPath(id, `${name}.log`),
      };
    }),
  };
}

/** The network's configuration, in flannel's form. */
function netConf(families: readonly Family[], rules: RulesMode): object {
  return {
    ...(families.includes(4) ? { Network: formatPrefix(NETWORKS[4].pods) } : { EnableIPv4: false }),
    ...(families.includes(6) ? { EnableIPv6: true, IPv6Network: formatPrefix(NETWORKS[6].pods) } : {}),
    ...(rules === "nft" ? { EnableNFTables: true } : {}),
    Backend: { Type: "vxlan" },
  };
}

/** What is joined by the switch: the nodes, the outside, and the lease source's server if there is one. */
export function hostsOf({ nodes, outside, lease }: LabPlan): LabHost[] {
  const server = serverHost(lease);
  return [...nodes, outside, ...(server === undefined ? [] : [server])];
}

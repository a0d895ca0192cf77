import { type Address, parseAddress } from "../../net/address.ts";
import { makePrefix, nthAddress, type Prefix } from "../../net/prefix.ts";
import { labPath } from "./lab-folder.ts";
import { type LabHost, type LeaseKind, type LeasePlan, planLease, serverHost } from "./lease-plan.ts";

/** All labs' network namespaces begin with this. */
export const NAMESPACE_PREFIX = "tartan-lab-";

/** TEST-NET-1 (RFC 5737), which no real network uses. Each lab has its own, behind its own switch. */
const UNDERLAY: Prefix = makePrefix(parseAddress("192.0.2.0") as Address, 24);

const POD_NETWORK = "10.244.0.0/16";

/** What shapes a lab. */
export interface LabShape {
  readonly nodes: number;
  readonly lease: LeaseKind;
}

/** One node, its pod, and the files of its agent. */
export interface LabNode extends LabHost {
  /** network namespace */
  readonly podNamespace: string;
  readonly subnetFile: string;
  readonly debugSocket: string;
  readonly logFile: string;
}

/** What a lab consists of, before any of it is made. */
export interface LabPlan {
  readonly id: string;
  readonly switchNamespace: string;
  readonly nodes: readonly LabNode[];
  readonly underlay: Prefix;
  /** of the nodes' default route; nothing answers there */
  readonly gateway: Address;
  readonly netConf: { readonly path: string; readonly content: string };
  readonly lease: LeasePlan;
}

/** All network namespaces of one lab begin with this. */
export function namespacePrefix(id: string): string {
  return `${NAMESPACE_PREFIX}${id}-`;
}

export function planLab(id: string, { nodes, lease }: LabShape): LabPlan {
  const prefix = namespacePrefix(id);
  const server = { name: "server", namespace: `${prefix}server`, address: nthAddress(UNDERLAY, 250n) };
  return {
    id,
    switchNamespace: `${prefix}switch`,
    underlay: UNDERLAY,
    gateway: nthAddress(UNDERLAY, 254n),
    netConf: {
      path: labPath(id, "net-conf.json"),
      content: `${JSON.stringify({ Network: POD_NETWORK, Backend: { Type: "vxlan" } })}\n`,
    },
    lease: planLease(lease, id, server, POD_NETWORK),
    nodes: Array.from({ length: nodes }, (_, index) => {
      const number = index + 1;
      const name = `n${number}`;
      return {
        name,
        namespace: `${prefix}${name}`,
        podNamespace: `${prefix}pod${number}`,
        address: nthAddress(UNDERLAY, BigInt(number)),
        subnetFile: labPath(id, `${name}.subnet.env`),
        debugSocket: labPath(id, `${name}.sock`),
        logFile: labPath(id, `${name}.log`),
      };
    }),
  };
}

/** What is joined by the switch: the nodes, and the lease source's server if there is one. */
export function hostsOf({ nodes, lease }: LabPlan): LabHost[] {
  const server = serverHost(lease);
  return server === undefined ? [...nodes] : [...nodes, server];
}

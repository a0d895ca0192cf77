import type { ExternalInterface } from "../../src/config/interface.ts";
import type { NetworkConfig, NetworkRange, VxlanOptions } from "../../src/config/network.ts";
import type { Desired } from "../../src/desired/desired.ts";
import { type PlanInput, type PlanSettings, plan } from "../../src/desired/plan.ts";
import type { Lease } from "../../src/lease/lease.ts";
import { addressFromBigInt } from "../../src/net/address.ts";
import { type Family, familiesOf, type PerFamily } from "../../src/net/family.ts";
import type { Mac } from "../../src/net/mac.ts";
import { makePrefix, nthAddress, type Prefix, rangeOf, sizeOf } from "../../src/net/prefix.ts";
import { mac, prefix } from "../net/values.ts";

/** A pod network with this node and its peers, to be varied by tests. Peer 0 is the node itself. */

export const NETWORKS: Readonly<Record<Family, Prefix>> = {
  4: prefix("10.244.0.0/16"),
  6: prefix("fd00:10:244::/48"),
};
const UNDERLAY: Readonly<Record<Family, Prefix>> = { 4: prefix("198.18.0.0/15"), 6: prefix("fd00:18::/64") };
const SUBNET_LENGTH: Readonly<Record<Family, number>> = { 4: 24, 6: 64 };

const BACKEND: VxlanOptions = {
  type: "vxlan",
  vni: 1,
  port: undefined,
  gbp: false,
  learning: false,
  mtu: undefined,
};

export const IPV4: readonly Family[] = [4];
export const IPV6: readonly Family[] = [6];
export const DUAL: readonly Family[] = [4, 6];

export function perFamily<T>(families: readonly Family[], make: (family: Family) => T): PerFamily<T> {
  return Object.fromEntries(families.map((family) => [family, make(family)]));
}

function exampleNetwork(families: readonly Family[], backend: Partial<VxlanOptions> = {}): NetworkConfig {
  const range = (family: Family): NetworkRange => {
    const network = NETWORKS[family];
    const subnetLength = SUBNET_LENGTH[family];
    const { last } = rangeOf(network);
    const subnetMax = makePrefix(addressFromBigInt(last, family), subnetLength).address;
    return { network, subnetLength, subnetMin: network.address, subnetMax };
  };
  return { ranges: perFamily(families, range), backend: { ...BACKEND, ...backend }, nftables: false };
}

/** The `n`th node's subnet, public address and VTEP MAC. */
export function exampleSubnet(family: Family, n: number): Prefix {
  const network = NETWORKS[family];
  const size = sizeOf(family, SUBNET_LENGTH[family]);
  return makePrefix(nthAddress(network, BigInt(n + 1) * size), SUBNET_LENGTH[family]);
}

export const examplePublicIP = (family: Family, n: number) => nthAddress(UNDERLAY[family], BigInt(n + 1));

export function exampleMac(family: Family, n: number): Mac {
  const bytes = [0x02, family, 0, 0, n >> 8, n & 0xff];
  return mac(bytes.map((byte) => byte.toString(16).padStart(2, "0")).join(":"));
}

export function exampleLease(families: readonly Family[], n: number, changes: Partial<Lease> = {}): Lease {
  return {
    key: `node-${n}`,
    node: `node-${n}`,
    backendType: "vxlan",
    subnets: perFamily(families, (family) => exampleSubnet(family, n)),
    publicIPs: perFamily(families, (family) => examplePublicIP(family, n)),
    vteps: perFamily(families, (family) => ({ vni: 1, mac: exampleMac(family, n) })),
    ...changes,
  };
}

function exampleExternal(families: readonly Family[], changes: Partial<ExternalInterface> = {}): ExternalInterface {
  const addresses = perFamily(families, (family) => examplePublicIP(family, 0));
  return { index: 2, name: "eth0", mtu: 1500, addresses, publicIPs: addresses, ...changes };
}

export interface ExampleOptions {
  readonly backend?: Partial<VxlanOptions>;
  readonly external?: Partial<ExternalInterface>;
  readonly own?: Partial<Lease>;
  readonly settings?: Partial<PlanSettings>;
}

const LEFT = { why: "left as it is" };
const SETTINGS: PlanSettings = { blackholeRoute: false, txChecksum: { 4: LEFT, 6: LEFT } };

/** What a node with these peers plans from; its own lease stands among them, as in a snapshot. */
export function exampleInput(
  families: readonly Family[],
  peers: readonly Lease[],
  { backend = {}, external = {}, own: ownChanges = {}, settings = {} }: ExampleOptions = {},
): PlanInput {
  const network = exampleNetwork(families, backend);
  const { vni } = network.backend;
  const vteps = perFamily(families, (family) => ({ vni, mac: exampleMac(family, 0) }));
  const own = exampleLease(familiesOf(network.ranges), 0, { vteps, ...ownChanges });
  return {
    settings: { ...SETTINGS, ...settings },
    network,
    external: exampleExternal(families, external),
    own,
    leases: [own, ...peers],
  };
}

/** The desired state of an input by itself. */
export function planned(input: PlanInput): Desired {
  return plan(input).desired;
}

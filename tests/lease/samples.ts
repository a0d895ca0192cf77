import type { NetworkConfig } from "../../src/config/network.ts";
import { networkRange } from "../../src/config/network-range.ts";
import type { Lease, LeaseAttributes, Snapshot } from "../../src/lease/lease.ts";
import type { LeaseRequest } from "../../src/lease/source.ts";
import { type Address, parseAddress } from "../../src/net/address.ts";
import type { Family, PerFamily } from "../../src/net/family.ts";
import { type Mac, parseMac } from "../../src/net/mac.ts";
import { type Prefix, parsePrefix } from "../../src/net/prefix.ts";

function known<T>(value: T | undefined, text: string): T {
  if (value === undefined) throw new Error(`a test has a wrong value: ${text}`);
  return value;
}

export const address = (text: string): Address => known(parseAddress(text), text);
export const prefix = (text: string): Prefix => known(parsePrefix(text), text);
export const mac = (text: string): Mac => known(parseMac(text), text);

export interface RangeSample {
  readonly network: string;
  readonly length?: number;
  readonly min?: string;
  readonly max?: string;
}

/** A network with flannel's defaults for what is not given. */
export function networkOf(ranges: PerFamily<RangeSample>): NetworkConfig {
  const range = (family: Family, sample: RangeSample) =>
    networkRange(
      family,
      {
        network: prefix(sample.network),
        subnetLength: sample.length,
        subnetMin: sample.min === undefined ? undefined : address(sample.min),
        subnetMax: sample.max === undefined ? undefined : address(sample.max),
      },
      (text) => new Error(text),
    );
  return {
    ranges: { ...(ranges[4] && { 4: range(4, ranges[4]) }), ...(ranges[6] && { 6: range(6, ranges[6]) }) },
    backend: { type: "vxlan", vni: 1, port: undefined, gbp: false, learning: false, mtu: undefined },
    nftables: false,
  };
}

const SAMPLE_NETWORKS: Readonly<Record<Family, RangeSample>> = {
  4: { network: "10.244.0.0/16" },
  6: { network: "fd00:10:244::/48" },
};

/** `make`'s values for the families that are asked for. */
export function forFamilies<T>(families: readonly Family[], make: (family: Family) => T): PerFamily<T> {
  const values: PerFamily<T> = {};
  for (const family of families) values[family] = make(family);
  return values;
}

export const networkWith = (families: readonly Family[]): NetworkConfig =>
  networkOf(forFamilies(families, (family) => SAMPLE_NETWORKS[family]));

export const NETWORK = networkWith([4]);

/** Stands for reading net-conf.json. */
export const readSampleNetwork = async (): Promise<{ config: NetworkConfig; warnings: string[] }> => ({
  config: NETWORK,
  warnings: [],
});

/** The `n`th subnet of a sample network, as flannel's key has it. */
export const subnetText = (family: Family, n: number): string =>
  family === 4 ? `10.244.${n}.0-24` : `fd00:10:244:${n.toString(16)}::-64`;

/** flannel's key of those subnets: what there is of IPv4, `&`, and IPv6. */
export function keyOf(families: readonly Family[], part: (family: Family) => string): string {
  if (!families.includes(6)) return part(4);
  return `${families.includes(4) ? part(4) : "0.0.0.0-0"}&${part(6)}`;
}

/** What node number `n` publishes. */
export function attributesOf(n: number, families: readonly Family[] = [4]): LeaseAttributes {
  const hosts: Readonly<Record<Family, string>> = {
    4: `172.31.${n >> 8}.${n & 255}`,
    6: `2001:db8::${n.toString(16)}`,
  };
  return {
    node: `node-${n}`,
    publicIPs: forFamilies(families, (family) => address(hosts[family])),
    backendType: "vxlan",
    vteps: forFamilies(families, () => ({ vni: 1, mac: macOf(n) })),
  };
}

export function macOf(n: number): Mac {
  return mac(`02:00:00:${[16, 8, 0].map((shift) => ((n >> shift) & 255).toString(16).padStart(2, "0")).join(":")}`);
}

export function requestOf(
  n: number,
  changes: Partial<LeaseRequest> = {},
  families: readonly Family[] = [4],
): LeaseRequest {
  return { ...attributesOf(n, families), previous: {}, ...changes };
}

/** The lease of node `n` for a subnet given as `10.244.1.0/24`. */
export function leaseOf(n: number, subnet: string, changes: Partial<Lease> = {}): Lease {
  const subnets = { 4: prefix(subnet) };
  return { ...attributesOf(n), key: subnet.replace("/", "-"), subnets, createdAt: 1000 + n, ...changes };
}

export function snapshotOf(leases: readonly Lease[], changes: Partial<Snapshot> = {}): Snapshot {
  return { leases, rejected: [], takenAt: 0, ...changes };
}

/** A small generator of numbers from 0 to below 1, the same for the same seed (mulberry32). */
export function seeded(seed: number): () => number {
  let state = seed >>> 0;
  return () => {
    state = (state + 0x6d2b79f5) >>> 0;
    let mixed = Math.imul(state ^ (state >>> 15), state | 1);
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61);
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32;
  };
}

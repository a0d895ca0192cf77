import { type Address, addressFromBigInt, addressToBigInt } from "../net/address.ts";
import { ADDRESS_BITS, type Family } from "../net/family.ts";
import { containsAddress, formatPrefix, type Prefix, rangeOf, sizeOf } from "../net/prefix.ts";
import type { NetworkRange } from "./network.ts";

/** The fields of net-conf.json that describe one family's range. */
interface RangeFields {
  readonly network: Prefix | undefined;
  /** bits; undefined or 0 takes the default */
  readonly subnetLength: number | undefined;
  /** undefined or the zero address takes the default */
  readonly subnetMin: Address | undefined;
  readonly subnetMax: Address | undefined;
}

/** The fields' names in net-conf.json. */
export const RANGE_NAMES = {
  4: { network: "Network", length: "SubnetLen", min: "SubnetMin", max: "SubnetMax" },
  6: { network: "IPv6Network", length: "IPv6SubnetLen", min: "IPv6SubnetMin", max: "IPv6SubnetMax" },
} as const;

/** What a node gets where the network has room for four of them. */
const USUAL_SUBNET: Readonly<Record<Family, number>> = { 4: 24, 6: 64 };

/**
 * Flanneld's rules for the pod network and its subnets (pkg/subnet/config.go, CheckNetworkConfig), alike in both families:
 * a subnet has at least four addresses, the network at least four subnets, and the first of them is left out.
 * @param problem makes the error for a sentence that starts with a field's name
 */
export function networkRange(family: Family, fields: RangeFields, problem: (text: string) => Error): NetworkRange {
  const names = RANGE_NAMES[family];
  const network = networkOf(family, fields, problem);
  const subnetLength = lengthOf(fields.subnetLength, network, problem);
  const size = sizeOf(family, subnetLength);
  const limit = (name: string, wanted: Address | undefined, usual: bigint): bigint => {
    const value = wanted === undefined ? 0n : addressToBigInt(wanted);
    if (wanted === undefined || value === 0n) return usual;
    if (!containsAddress(network, wanted)) {
      throw problem(
        `${name} ${wanted} lies outside ${names.network} ${formatPrefix(network)}; take one of its addresses`,
      );
    }
    if (value % size === 0n) return value;
    const start = addressFromBigInt(value - (value % size), family);
    throw problem(
      `${name} ${wanted} is not where a /${subnetLength} subnet (${names.length}) starts; ${start} would be`,
    );
  };
  const { first, last } = rangeOf(network);
  const min = limit(names.min, fields.subnetMin, first + size);
  const max = limit(names.max, fields.subnetMax, last + 1n - size);
  if (min > max) throw problem(`${names.min} must not be above ${names.max}`);
  return {
    network,
    subnetLength,
    subnetMin: addressFromBigInt(min, family),
    subnetMax: addressFromBigInt(max, family),
  };
}

/** A network whose subnets somebody else gives out, so that only where it is counts. */
export function wholeRange(family: Family, fields: RangeFields, problem: (text: string) => Error): NetworkRange {
  const network = networkOf(family, fields, problem);
  const subnetLength = Math.max(USUAL_SUBNET[family], network.length);
  const last = addressFromBigInt(rangeOf(network).last + 1n - sizeOf(family, subnetLength), family);
  return { network, subnetLength, subnetMin: network.address, subnetMax: last };
}

function networkOf(family: Family, { network }: RangeFields, problem: (text: string) => Error): Prefix {
  const name = RANGE_NAMES[family].network;
  const example = family === 4 ? "10.244.0.0/16" : "fd00:10:244::/48";
  const advice = `set it to the pod network, such as "${example}"`;
  if (network === undefined) throw problem(`${name} is missing; ${advice}`);
  // Flanneld takes this for "not set".
  if (network.length === 0) throw problem(`${name} must not be ${formatPrefix(network)}; ${advice}`);
  return network;
}

function lengthOf(wanted: number | undefined, network: Prefix, problem: (text: string) => Error): number {
  const names = RANGE_NAMES[network.family];
  const longest = ADDRESS_BITS[network.family] - 2;
  const shortest = network.length + 2;
  const given = `${names.network} ${formatPrefix(network)}`;
  if (shortest > longest) {
    throw problem(
      `${given} is too small: it must have room for four /${longest} subnets; use /${longest - 2} or shorter`,
    );
  }
  if (wanted === undefined || wanted === 0) return Math.max(USUAL_SUBNET[network.family], shortest);
  if (wanted >= shortest && wanted <= longest) return wanted;
  throw problem(
    `${names.length} must be from ${shortest} to ${longest}, not ${wanted}: ${given} must hold at least four subnets, and ` +
      "a subnet at least four addresses",
  );
}

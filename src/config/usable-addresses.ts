import type { Address } from "../net/address.ts";
import type { Family } from "../net/family.ts";
import { containsAddress, type Prefix, parsePrefix } from "../net/prefix.ts";
import type { HostAddress, HostInterface } from "./interface.ts";

const prefixes = (...texts: string[]): Prefix[] => texts.map(parsePrefix).filter((prefix) => prefix !== undefined);

const LINK_LOCAL = prefixes("169.254.0.0/16");
/**
 * Neither global nor link-local unicast: unspecified, loopback, multicast, broadcast (Go's net.IP.IsGlobalUnicast). An
 * IPv6 link-local address means nothing to another node without an interface beside it, so it is none either; flanneld
 * takes it as a last resort.
 */
const NO_SOURCE = prefixes(
  ...["0.0.0.0/32", "127.0.0.0/8", "224.0.0.0/4", "255.255.255.255/32"],
  ...["::/127", "fe80::/10", "ff00::/8"],
);

const lies = (address: Address, within: readonly Prefix[]) => within.some((prefix) => containsAddress(prefix, address));

/** Whether an address can be the source of packets to another node at all. */
export function canBeSource(address: Address): boolean {
  return !lies(address, NO_SOURCE);
}

/** Lower is better: global before link-local, set by hand before assigned, lasting before temporary. */
function rank({ address, permanent, temporary }: HostAddress): number {
  return (lies(address, LINK_LOCAL) ? 4 : 0) + (permanent === false ? 2 : 0) + (temporary === true ? 1 : 0);
}

/** An interface's addresses that may be the source of encapsulated packets, best first, else in the kernel's order. */
export function usableAddresses({ addresses }: HostInterface, family: Family): Address[] {
  return addresses
    .filter((one) => one.family === family && !one.deprecated && !one.duplicate && canBeSource(one.address))
    .toSorted((a, b) => rank(a) - rank(b))
    .map(({ address }) => address);
}

import { type Address, addressFromBigInt, addressToBigInt, familyOf, parseAddress } from "./address.ts";
import { ADDRESS_BITS, type Family } from "./family.ts";

/** A network: the address has no host bits set. */
export interface Prefix {
  readonly family: Family;
  readonly address: Address;
  /** bits, 0 to 32 or 128 */
  readonly length: number;
}

/** An address with the length of its prefix, as `subnet.env` has it; host bits are kept. */
export function splitCidr(text: string): { address: Address; length: number } | undefined {
  const slash = text.indexOf("/");
  if (slash < 0) return undefined;
  const address = parseAddress(text.slice(0, slash));
  const lengthText = text.slice(slash + 1);
  if (address === undefined || !/^\d{1,3}$/.test(lengthText)) return undefined;
  const length = Number(lengthText);
  return length <= ADDRESS_BITS[familyOf(address)] ? { address, length } : undefined;
}

/** Parses `address/length`; host bits are cleared, as Go's net.ParseCIDR does for the network. */
export function parsePrefix(text: string): Prefix | undefined {
  const cidr = splitCidr(text);
  return cidr && makePrefix(cidr.address, cidr.length);
}

/** The network of `length` bits that holds `address`. */
export function makePrefix(address: Address, length: number): Prefix {
  const family = familyOf(address);
  const size = sizeOf(family, length);
  const value = addressToBigInt(address);
  return { family, address: value % size === 0n ? address : addressFromBigInt(value - (value % size), family), length };
}

export function formatPrefix(prefix: Prefix): string {
  return `${prefix.address}/${prefix.length}`;
}

export function samePrefix(a: Prefix, b: Prefix): boolean {
  return a.address === b.address && a.length === b.length;
}

/** The number of addresses in a prefix of `length` bits. */
export function sizeOf(family: Family, length: number): bigint {
  return 1n << BigInt(ADDRESS_BITS[family] - length);
}

/** The prefix's first and last address as numbers. */
export function rangeOf(prefix: Prefix): { first: bigint; last: bigint } {
  const first = addressToBigInt(prefix.address);
  return { first, last: first + sizeOf(prefix.family, prefix.length) - 1n };
}

export function containsAddress(prefix: Prefix, address: Address): boolean {
  if (familyOf(address) !== prefix.family) return false;
  const shift = BigInt(ADDRESS_BITS[prefix.family] - prefix.length);
  return addressToBigInt(address) >> shift === addressToBigInt(prefix.address) >> shift;
}

export function containsPrefix(outer: Prefix, inner: Prefix): boolean {
  return outer.length <= inner.length && containsAddress(outer, inner.address);
}

export function overlaps(a: Prefix, b: Prefix): boolean {
  return containsPrefix(a, b) || containsPrefix(b, a);
}

/** The address `offset` addresses after the prefix's first: 1 is what the CNI bridge takes. */
export function nthAddress(prefix: Prefix, offset: bigint): Address {
  return addressFromBigInt(addressToBigInt(prefix.address) + offset, prefix.family);
}

import ipaddr from "ipaddr.js";
import { ADDRESS_BITS, type Family } from "./family.ts";

declare const brand: unique symbol;

/** An IP address in its canonical text (dotted quad, or RFC 5952), so that equal addresses are equal strings. */
export type Address = string & { readonly [brand]: "Address" };

const FOUR_PARTS = /^\d{1,3}(\.\d{1,3}){3}$/;

/**
 * Parses an address as Go's net.ParseIP does: no leading zeros, no short forms, no zone.
 * @returns the canonical address, or undefined if the text is none
 */
export function parseAddress(text: string): Address | undefined {
  if (FOUR_PARTS.test(text)) {
    const parts = text.split(".");
    const valid = parts.every((part) => Number(part) <= 255 && String(Number(part)) === part);
    return valid ? (text as Address) : undefined;
  }
  const plain = hexTail(text);
  if (!plain?.includes(":") || plain.includes("%") || !ipaddr.IPv6.isValid(plain)) return undefined;
  return ipaddr.IPv6.parse(plain).toRFC5952String() as Address;
}

/** An IPv6 text with a dotted quad at its end written in hexadecimal: the library reads such quads too freely. */
function hexTail(text: string): string | undefined {
  const start = text.lastIndexOf(":") + 1;
  const tail = text.slice(start);
  if (!tail.includes(".")) return text;
  const quad = FOUR_PARTS.test(tail) ? parseAddress(tail) : undefined;
  if (quad === undefined) return undefined;
  const [a = 0, b = 0, c = 0, d = 0] = addressToBytes(quad);
  return `${text.slice(0, start)}${((a << 8) | b).toString(16)}:${((c << 8) | d).toString(16)}`;
}

export function familyOf(address: Address): Family {
  return address.includes(":") ? 6 : 4;
}

/** @returns 4 or 16 bytes in network order */
export function addressToBytes(address: Address): Uint8Array {
  if (familyOf(address) === 6) return Uint8Array.from(ipaddr.IPv6.parse(address).toByteArray());
  const bytes = new Uint8Array(4);
  let at = 0;
  for (const part of address.split(".")) bytes[at++] = Number(part);
  return bytes;
}

/** @param bytes 4 or 16 bytes in network order; another length is a programming error */
export function addressFromBytes(bytes: Uint8Array): Address {
  if (bytes.length === 4) return `${bytes[0]}.${bytes[1]}.${bytes[2]}.${bytes[3]}` as Address;
  if (bytes.length === 16) return new ipaddr.IPv6([...bytes]).toRFC5952String() as Address;
  throw new RangeError(`an address has 4 or 16 bytes, not ${bytes.length}`);
}

export function addressToBigInt(address: Address): bigint {
  let value = 0n;
  for (const byte of addressToBytes(address)) value = (value << 8n) | BigInt(byte);
  return value;
}

/** @throws RangeError if the value lies outside the family's addresses */
export function addressFromBigInt(value: bigint, family: Family): Address {
  const length = ADDRESS_BITS[family] / 8;
  if (value < 0n || value >> BigInt(length * 8) !== 0n)
    throw new RangeError(`no IPv${family} address has the number ${value}`);
  const bytes = new Uint8Array(length);
  let rest = value;
  for (let i = length - 1; i >= 0; i--) {
    bytes[i] = Number(rest & 0xffn);
    rest >>= 8n;
  }
  return addressFromBytes(bytes);
}

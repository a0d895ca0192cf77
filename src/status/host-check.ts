import { hostname, networkInterfaces } from "node:os";
import type { TcpAddress } from "../config/listen-address.ts";
import { type Address, addressToBytes, familyOf, parseAddress } from "../net/address.ts";

const WILDCARDS: readonly string[] = ["0.0.0.0", "::"];

/**
 * Whether a request that came to a TCP address may name this host. A web page can let its own name lead to 127.0.0.1 and
 * then read what is there (DNS rebinding); its browser still says that name.
 * @param header of the request; HTTP/1.0 may leave it out, a browser does not
 * @param names of this node
 */
export function isOwnHost(header: string | undefined, listening: TcpAddress, names: readonly string[]): boolean {
  if (header === undefined || header === "") return true;
  const host = hostIn(header);
  if (host === undefined) return false;
  const address = parseAddress(host);
  if (address === undefined) {
    const isWild = WILDCARDS.includes(listening.host);
    const known = ["localhost", listening.host, ...(isWild ? [hostname(), ...names] : [])];
    return known.some((name) => name.toLowerCase() === host);
  }
  if (isLoopback(address) || address === listening.host) return true;
  return WILDCARDS.includes(listening.host) && isOwnAddress(address);
}

/** The host of a Host header without its port, in lower case; undefined if it is none. */
function hostIn(header: string): string | undefined {
  const match = /^(?:\[([0-9a-f:.]+)\]|([^:[\]/@\s]+))(?::\d{1,5})?$/i.exec(header);
  return (match?.[1] ?? match?.[2])?.toLowerCase().replace(/\.$/, "");
}

function isLoopback(address: Address): boolean {
  return familyOf(address) === 4 ? addressToBytes(address)[0] === 127 : address === "::1";
}

function isOwnAddress(address: Address): boolean {
  return Object.values(networkInterfaces()).some((list) => list?.some((one) => parseAddress(one.address) === address));
}

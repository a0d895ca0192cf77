import { familyOf, parseAddress } from "../net/address.ts";
import type { Family } from "../net/family.ts";

/** A TCP address to listen on. `host` is an IP address or a host name, without brackets; port 0 lets the kernel choose. */
export interface TcpAddress {
  readonly kind: "tcp";
  readonly host: string;
  readonly port: number;
}

interface UnixAddress {
  readonly kind: "unix";
  /** absolute */
  readonly path: string;
}

export type ListenAddress = TcpAddress | UnixAddress;

const HOST_NAME = /^(?!-)[a-z0-9-]+(\.[a-z0-9-]+)*$/i;
const NUMERIC_END = /(^|\.)\d+$/;
/** bytes that fit into sockaddr_un.sun_path before its final zero (unix(7)) */
const UNIX_PATH_BYTES = 107;

/** An IP address (canonical in the result) or a host name. */
export function parseHost(text: string): string | undefined {
  const address = parseAddress(text);
  if (address !== undefined) return address;
  // A name whose last part is a number would be read as an address by resolvers: 10.0.0.256 is a slip of the pen.
  return HOST_NAME.test(text) && !NUMERIC_END.test(text) ? text : undefined;
}

/**
 * Parses `HOST:PORT`, `[v6]:PORT` or `unix:/path`. An IPv4 address may stand in brackets as well, so that one command line
 * does where the family of a node's address is not known.
 */
export function parseListenAddress(text: string): ListenAddress | undefined {
  if (text.startsWith("unix:")) {
    const path = text.slice("unix:".length);
    const fits = Buffer.byteLength(path) <= UNIX_PATH_BYTES && !path.includes("\0");
    return path.startsWith("/") && fits ? { kind: "unix", path } : undefined;
  }
  const match = /^(?:\[([^[\]]+)\]|([^:[\]]+)):(\d{1,5})$/.exec(text);
  if (match === null) return undefined;
  const [, bracketed, plain, portText] = match;
  const host = parseHost(bracketed ?? plain ?? "");
  const port = Number(portText);
  if (host === undefined || port > 65535) return undefined;
  if (bracketed !== undefined && parseAddress(bracketed) === undefined) return undefined;
  return { kind: "tcp", host, port };
}

/** The text that parseListenAddress reads. */
export function formatListenAddress(address: ListenAddress): string {
  if (address.kind === "unix") return `unix:${address.path}`;
  return `${address.host.includes(":") ? `[${address.host}]` : address.host}:${address.port}`;
}

/** True if the kernel would refuse to have both: one address twice, or a wildcard that covers the other. */
export function listenAddressesClash(a: ListenAddress, b: ListenAddress): boolean {
  if (a.kind === "unix" || b.kind === "unix")
    return a.kind === b.kind && formatListenAddress(a) === formatListenAddress(b);
  if (a.port !== b.port || a.port === 0) return false;
  return a.host === b.host || covers(a.host, b.host) || covers(b.host, a.host);
}

function covers(wildcard: string, host: string): boolean {
  // `::` takes both families unless net.ipv6.bindv6only is set.
  return wildcard === "::" || (wildcard === "0.0.0.0" && familyOfHost(host) !== 6);
}

function familyOfHost(host: string): Family | undefined {
  const address = parseAddress(host);
  return address && familyOf(address);
}

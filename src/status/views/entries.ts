import type { Entry } from "../../api/kernel.ts";
import type { Desired } from "../../desired/desired.ts";
import { isOwnProtocol } from "../../desired/route-protocol.ts";
import { RTN_BLACKHOLE, RTN_UNICAST } from "../../ffi/constants.ts";
import type { Actual } from "../../kernel/mirror.ts";
import { familyOfDevice } from "../../kernel/owned.ts";
import type { Route } from "../../kernel/state.ts";
import type { Lease } from "../../lease/lease.ts";
import { familyOf } from "../../net/address.ts";
import { FAMILIES, type Family } from "../../net/family.ts";
import { formatPrefix } from "../../net/prefix.ts";
import type { Question } from "../question.ts";
import { familyName, familyNamed } from "./values.ts";

/** One entry, not yet as it is shown: a list may have many thousands, of which a page shows a few. */
export interface FoundEntry {
  readonly family: Family;
  readonly kind: Entry["kind"];
  /** the destination as `address/length`, the address, or the MAC */
  readonly key: string;
  view(): Entry;
}

/** All that belongs to peers and is desired. */
export function* desiredEntries({ routes, devices }: Desired): Generator<FoundEntry> {
  for (const [key, route] of routes) {
    const { family } = route.destination;
    const { gateway, onlink, protocol, device } = route;
    yield {
      family,
      kind: "route",
      key,
      view: () => ({ kind: "route", family: familyName(family), device, destination: key, gateway, onlink, protocol }),
    };
  }
  for (const { family, name: device, neighbours, forwarding } of devices) {
    for (const [address, mac] of neighbours) yield neighbour(family, device, address, mac);
    for (const [mac, destination] of forwarding) yield forwardingEntry(family, device, mac, destination);
  }
}

/** All that the kernel has on our devices, and what else has the mark of our routes. */
export function* kernelEntries({ links, routes, neighbours, forwarding }: Actual): Generator<FoundEntry> {
  for (const list of routes.values()) {
    for (const route of list) {
      if (route.type !== RTN_UNICAST || route.destination.length === 0) continue;
      if (!isOwnProtocol(route.protocol) && !neighbours.has(route.index)) continue;
      const { family, destination, gateway, onlink, protocol, index } = route;
      const key = formatPrefix(destination);
      yield {
        family,
        kind: "route",
        key,
        view: () => ({
          kind: "route",
          family: familyName(family),
          device: links.get(index)?.name ?? "",
          destination: key,
          gateway: gateway ?? null,
          onlink,
          protocol,
        }),
      };
    }
  }
  for (const [index, entries] of neighbours) {
    const device = links.get(index)?.name ?? "";
    for (const { address, mac } of entries.values()) yield neighbour(familyOf(address), device, address, mac);
  }
  for (const [index, entries] of forwarding) {
    const link = links.get(index);
    if (link === undefined) continue;
    for (const { mac, destination } of entries.values())
      yield forwardingEntry(familyOfDevice(link), link.name, mac, destination);
  }
}

function neighbour(family: Family, device: string, address: string, mac: string | undefined): FoundEntry {
  const view = (): Entry => ({ kind: "neighbour", family: familyName(family), device, address, mac: mac ?? null });
  return { family, kind: "neighbour", key: address, view };
}

function forwardingEntry(family: Family, device: string, mac: string, destination: string | undefined): FoundEntry {
  const view = (): Entry => ({
    kind: "forwarding",
    family: familyName(family),
    device,
    mac,
    destination: destination ?? null,
  });
  return { family, kind: "forwarding", key: mac, view };
}

/** Blackhole routes of ours. */
export function blackholesOf({ routes }: Actual): string[] {
  const isOurs = ({ type, protocol }: Route) => type === RTN_BLACKHOLE && isOwnProtocol(protocol);
  return routes
    .values()
    .flatMap((list) => list.filter(isOurs).map(({ destination }) => formatPrefix(destination)))
    .toArray();
}

/** @param lease of the node that was asked for; "none" where it has no lease that is in use */
export function* asked(
  entries: Iterable<FoundEntry>,
  { query }: Question,
  lease: Lease | "none" | undefined,
): Generator<FoundEntry> {
  const family = query.family && familyNamed(query.family);
  const keys = lease === undefined ? undefined : keysOf(lease);
  for (const entry of entries) {
    if (family !== undefined && entry.family !== family) continue;
    if (keys === undefined || keys.has(`${entry.kind} ${entry.key}`)) yield entry;
  }
}

/** What belongs to a node, as `kind key` of entries. */
export function keysOf(lease: Lease | "none"): ReadonlySet<string> {
  const keys = new Set<string>();
  if (lease === "none") return keys;
  for (const family of FAMILIES) {
    const subnet = lease.subnets[family];
    const vtep = lease.vteps[family];
    if (subnet !== undefined) keys.add(`route ${formatPrefix(subnet)}`).add(`neighbour ${subnet.address}`);
    if (vtep !== undefined) keys.add(`forwarding ${vtep.mac}`);
  }
  return keys;
}

import { isOwnProtocol } from "../desired/route-protocol.ts";
import { RTN_UNICAST } from "../ffi/constants.ts";
import type { Actual } from "../kernel/mirror.ts";
import { familyOfDevice } from "../kernel/owned.ts";
import type { Link, Route } from "../kernel/state.ts";
import type { Address } from "../net/address.ts";
import type { Family } from "../net/family.ts";
import type { Mac } from "../net/mac.ts";
import { formatPrefix } from "../net/prefix.ts";
import { ownDevices } from "./local-node.ts";

/** The other nodes as the kernel alone knows them: by what is on our devices. Pure. */

export type Part = "route" | "neighbour" | "forwarding";

export interface KernelPeer {
  readonly family: Family;
  readonly device: string;
  /** undefined where only other parts are left of it */
  readonly subnet: string | undefined;
  readonly vtepAddress: Address | undefined;
  readonly vtepMAC: Mac | undefined;
  readonly publicIP: Address | undefined;
  /** what a packet to it would need and is not there */
  readonly missing: readonly Part[];
}

/** Those that lack something first, then by subnet. */
export function kernelPeers(actual: Actual): KernelPeer[] {
  return ownDevices(actual)
    .flatMap((device) => peersOn(device, actual))
    .sort((a, b) => Number(b.missing.length > 0) - Number(a.missing.length > 0) || order(a, b));
}

function order(a: KernelPeer, b: KernelPeer): number {
  return nameOf(a).localeCompare(nameOf(b), "en", { numeric: true });
}

/** By what it is known best. */
export function nameOf({ subnet, vtepAddress, vtepMAC }: KernelPeer): string {
  return subnet ?? vtepAddress ?? vtepMAC ?? "";
}

function peersOn(device: Link, actual: Actual): KernelPeer[] {
  const base = { family: familyOfDevice(device), device: device.name };
  const neighbours = actual.neighbours.get(device.index);
  const forwarding = actual.forwarding.get(device.index);
  const routes = routesThrough(device, actual);
  const seenMacs = new Set<Mac>();
  const behind = (vtepAddress: Address) => {
    const vtepMAC = neighbours?.get(vtepAddress)?.mac;
    const publicIP = vtepMAC && forwarding?.get(vtepMAC)?.destination;
    if (vtepMAC !== undefined) seenMacs.add(vtepMAC);
    const missing: Part[] = [
      ...(vtepMAC === undefined ? ["neighbour" as const] : []),
      // Without the neighbour it can't be told which entry it would be.
      ...(vtepMAC !== undefined && publicIP === undefined ? ["forwarding" as const] : []),
    ];
    return { vtepAddress, vtepMAC, publicIP, missing };
  };
  const routed = routes.flatMap(({ destination, gateway }) =>
    gateway === undefined ? [] : [{ ...base, subnet: formatPrefix(destination), ...behind(gateway) }],
  );
  const gateways = new Set(routes.map(({ gateway }) => gateway));
  const unrouted = [...(neighbours?.values() ?? [])]
    .filter(({ permanent, address }) => permanent && !gateways.has(address))
    .map(({ address }) => {
      const found = behind(address);
      return { ...base, subnet: undefined, ...found, missing: ["route" as const, ...found.missing] };
    });
  // Where neighbours are missing nobody can tell which of them these would belong to.
  const isUncertain = routed.some(({ vtepMAC }) => vtepMAC === undefined);
  const alone = [...(forwarding?.values() ?? [])]
    .filter(({ permanent, mac, destination }) => permanent && destination !== undefined && !seenMacs.has(mac))
    .map(({ mac, destination }): KernelPeer => {
      const nothing = { subnet: undefined, vtepAddress: undefined };
      return { ...base, ...nothing, vtepMAC: mac, publicIP: destination, missing: ["route", "neighbour"] };
    });
  return [...routed, ...unrouted, ...(isUncertain ? [] : alone)];
}

/** To other nodes' subnets: ours, or as flanneld makes them. */
function routesThrough({ index }: Link, { routes }: Actual): Route[] {
  return [...routes.values()]
    .flatMap(([first]) => first ?? [])
    .filter((route) => route.index === index && route.type === RTN_UNICAST)
    .filter((route) => isOwnProtocol(route.protocol) || (route.onlink && route.gateway === route.destination.address));
}

import { expect } from "bun:test";
import { BLACKHOLE_METRIC } from "../../src/desired/blackholes.ts";
import type { Desired } from "../../src/desired/desired.ts";
import { isOwnProtocol } from "../../src/desired/route-protocol.ts";
import { RTN_BLACKHOLE, RTN_UNICAST, RTPROT_BOOT } from "../../src/ffi/constants.ts";
import { type Actual, routeKey } from "../../src/kernel/mirror.ts";
import { DEFAULT_METRIC, type InterfaceAddress, type Link, type Route } from "../../src/kernel/state.ts";
import { ADDRESS_BITS, FAMILIES } from "../../src/net/family.ts";
import { containsAddress, containsPrefix } from "../../src/net/prefix.ts";
import { describeForwarding, describeLink, describeNeighbour, describeRoute } from "./describe.ts";
import type { FakeKernel } from "./fake-kernel.ts";

/** What a fake kernel must have, worked out from the kernel itself and not by the code under test. */

const FLANNEL_NAME = /^flannel(-v6)?\.\d+$/;

/** Whether a device with its entries is tartan's to keep in order. */
function isFlannelDevice(link: Link | undefined): boolean {
  return link?.kind === "vxlan" && (FLANNEL_NAME.test(link.name) || link.alias === "tartan");
}

function isOursToRemove(kernel: FakeKernel, desired: Desired, route: Route): boolean {
  const { family, destination, gateway, protocol, priority, tos, type, onlink, index } = route;
  if (type !== RTN_UNICAST || tos !== 0 || priority !== DEFAULT_METRIC[family]) return false;
  if (isOwnProtocol(protocol)) return true;
  const network = desired.networks[family];
  const inNetwork = network !== undefined && containsPrefix(network, destination);
  const likeFlanneld = protocol === RTPROT_BOOT && onlink && gateway === destination.address;
  return likeFlanneld && inNetwork && isFlannelDevice(kernel.links.find((link) => link.index === index));
}

/** The desired entries as lines of the kernel's text, by kind. */
export function desiredLines(
  kernel: FakeKernel,
  desired: Desired,
): Record<"routes" | "neighbours" | "forwarding", string[]> {
  const indexOf = (name: string) => kernel.link(name)?.index ?? 0;
  const { devices, routes } = desired;
  return {
    routes: [...routes.values()].map(({ device, ...route }) => {
      const { family } = route.destination;
      const rest = { family, index: indexOf(device), type: RTN_UNICAST, priority: DEFAULT_METRIC[family], tos: 0 };
      return describeRoute({ ...route, ...rest });
    }),
    neighbours: devices.flatMap(({ name, neighbours }) =>
      [...neighbours].map(([address, mac]) =>
        describeNeighbour({ index: indexOf(name), address, mac, permanent: true }),
      ),
    ),
    forwarding: devices.flatMap(({ name, forwarding }) =>
      [...forwarding].map(([mac, destination]) =>
        describeForwarding({ index: indexOf(name), mac, destination, permanent: true, special: false }),
      ),
    ),
  };
}

/** All that is desired is there, the routes as those that the kernel uses, and nothing of ours is there beyond. */
export function expectDesired(kernel: FakeKernel, desired: Desired): void {
  const indices = new Set<number>();
  for (const device of desired.devices) {
    const link = kernel.link(device.name);
    const { vni, port = 8472, local, underlay, learning, gbp, mac, mtu, name } = device;
    const vxlan = { vni, port, local, underlay, group: undefined, learning, gbp, l2miss: false };
    const index = link?.index ?? 0;
    const txChecksum = device.txChecksum.wanted ?? link?.txChecksum;
    const offload = txChecksum === undefined ? {} : { txChecksum };
    expect(link).toEqual({ ...offload, index, name, kind: "vxlan", alias: "tartan", mac, mtu, up: true, vxlan });
    const inNetwork = kernel.addresses(index).filter(({ address }) => containsAddress(device.network, address));
    expect(inNetwork.map(({ address, length }) => [address, length])).toEqual([
      [device.address, ADDRESS_BITS[device.family]],
    ]);
    indices.add(index);
  }
  const wanted = desiredLines(kernel, desired);
  const on = [...indices];
  const neighbours = on.flatMap((index) => kernel.neighbours(index)).filter(({ permanent }) => permanent);
  expect(neighbours.map(describeNeighbour).sort()).toEqual(wanted.neighbours.sort());
  const forwarding = on.flatMap((index) => kernel.forwarding(index)).filter(({ permanent }) => permanent);
  expect(forwarding.map(describeForwarding).sort()).toEqual(wanted.forwarding.sort());
  const used = new Map(kernel.routes.toReversed().map((route) => [routeKey(route), describeRoute(route)]));
  expect([...desired.routes.keys()].map((key) => used.get(key) ?? `${key} is missing`)).toEqual(wanted.routes);
  const blackholes = kernel.routes.filter(
    ({ type, priority }) => type === RTN_BLACKHOLE && priority === BLACKHOLE_METRIC,
  );
  expect(blackholes.filter(({ protocol }) => isOwnProtocol(protocol)).map(({ destination }) => destination)).toEqual(
    expect.arrayContaining([...desired.blackholes]),
  );
  expect(blackholes).toHaveLength(desired.blackholes.length);
  const ours = kernel.routes.filter((route) => isOursToRemove(kernel, desired, route));
  expect(ours.map(describeRoute).sort()).toEqual(wanted.routes.sort());
  const marked = kernel.links.filter(({ kind, alias }) => kind === "vxlan" && alias === "tartan");
  expect(marked.map(({ name }) => name).sort()).toEqual(desired.devices.map(({ name }) => name).sort());
}

/**
 * What tartan has to leave as it is, as text: all but its devices, their permanent entries and addresses of the pod
 * network, and the routes of its own or with a key of its own.
 * @param survives false for devices whose entries the kernel drops because of a change of the device itself
 */
export function foreignLines(kernel: FakeKernel, desired: Desired, survives: (index: number) => boolean): string[] {
  const devices = new Map(desired.devices.map((device) => [kernel.link(device.name)?.index, device]));
  const lines = kernel.links.flatMap((link) => {
    const { index } = link;
    if (!survives(index)) return [];
    const device = devices.get(index);
    const addresses = kernel
      .addresses(index)
      .filter(({ address }) => !(device && containsAddress(device.network, address)));
    const neighbours = kernel
      .neighbours(index)
      .filter(({ address, permanent }) => !(device && (permanent || device.neighbours.has(address))));
    const forwarding = kernel
      .forwarding(index)
      .filter(({ mac, permanent }) => !(device && (permanent || device.forwarding.has(mac))));
    return [
      ...(device ? [] : [Bun.inspect(link)]),
      ...addresses.map(({ address, length }) => `${index}: address ${address}/${length}`),
      ...neighbours.map(describeNeighbour),
      ...forwarding.map(describeForwarding),
    ];
  });
  const routes = kernel.routes.filter(
    (route) => survives(route.index) && !isOursToRemove(kernel, desired, route) && !desired.routes.has(routeKey(route)),
  );
  return [...lines, ...routes.map(describeRoute)].sort();
}

/** All that a copy of the kernel's state holds, as lines; their order depends on the state alone. */
export function linesOf({ links, addresses, routes, neighbours, forwarding }: Actual): string[] {
  return [
    ...[...links.values()].map(describeLink),
    ...[...addresses].flatMap(([index, list]) =>
      FAMILIES.map((family) => {
        const texts = list.filter((one) => one.family === family).map(describeAddress);
        // Their order counts where an external interface may be chosen, in which none of ours takes part.
        const ordered = neighbours.has(index) ? texts.sort() : texts;
        return ordered.length > 0 ? `${index}: addresses ${ordered.join(", ")}` : "";
      }),
    ),
    ...[...routes].map(([key, list]) => `${key}: ${list.map(describeRoute).join(", ")}`),
    ...[...neighbours.values()].flatMap((entries) => [...entries.values()].map(describeNeighbour)),
    ...[...forwarding.values()].flatMap((entries) => [...entries.values()].map(describeForwarding)),
  ]
    .filter(Boolean)
    .sort();
}

function describeAddress({ address, length, deprecated, duplicate, permanent, temporary }: InterfaceAddress): string {
  const flags = Object.entries({ deprecated, duplicate, permanent, temporary }).map(([flag, on]) =>
    on ? ` ${flag}` : "",
  );
  return `${address}/${length}${flags.join("")}`;
}

import type * as v from "valibot";
import type * as api from "../../api/kernel.ts";
import type { Desired, DesiredDevice, DesiredRoute } from "../../desired/desired.ts";
import type { Actual } from "../../kernel/mirror.ts";
import { type Address, parseAddress } from "../../net/address.ts";
import type { PerFamily } from "../../net/family.ts";
import { type Mac, parseMac } from "../../net/mac.ts";
import { type Prefix, parsePrefix } from "../../net/prefix.ts";

/** `/debug/desired` read back into what it was made from, so that it can be held against the kernel here. */

type ApiDesired = v.InferOutput<typeof api.Desired>;
type ApiDevice = ApiDesired["devices"][number];

/** @throws Error where the agent names something that is no address */
export function desiredFrom({ items, devices, blackholes, networks }: ApiDesired): Desired {
  const neighbours = Map.groupBy(items, ({ kind, device }) => `${kind} ${device}`);
  const of = <K extends api.Entry["kind"]>(kind: K, device: string) =>
    (neighbours.get(`${kind} ${device}`) ?? []).filter(
      (entry): entry is Extract<api.Entry, { kind: K }> => entry.kind === kind,
    );
  const routes = new Map<string, DesiredRoute>();
  for (const entry of items) {
    if (entry.kind !== "route") continue;
    const { destination, gateway, device, onlink, protocol } = entry;
    routes.set(destination, { destination: prefix(destination), gateway: address(gateway), device, onlink, protocol });
  }
  return {
    devices: devices.map((device) => ({
      ...deviceFrom(device),
      neighbours: new Map(of("neighbour", device.name).map((entry) => [address(entry.address), mac(entry.mac)])),
      forwarding: new Map(of("forwarding", device.name).map((entry) => [mac(entry.mac), address(entry.destination)])),
    })),
    routes,
    blackholes: blackholes.map(prefix),
    networks: networksFrom(networks),
    skipped: [],
  };
}

function networksFrom(networks: readonly string[]): PerFamily<Prefix> {
  return Object.fromEntries(networks.map(prefix).map((network) => [network.family, network]));
}

function deviceFrom(device: ApiDevice): Omit<DesiredDevice, "neighbours" | "forwarding"> {
  const { wanted, why } = device.txChecksum;
  return {
    family: device.family === "ipv4" ? 4 : 6,
    name: device.name,
    vni: device.vni,
    port: device.port ?? undefined,
    gbp: device.gbp,
    learning: device.learning,
    mac: mac(device.mac),
    mtu: device.mtu,
    local: address(device.local),
    underlay: device.underlay,
    txChecksum: { ...(wanted === null ? {} : { wanted: wanted === "on" }), why },
    address: address(device.address),
    network: prefix(device.network),
  };
}

/** Whether the kernel that was read here is the agent's: the interface below its devices has their address. */
export function isAgentsKernel({ devices }: Desired, { addresses }: Actual): boolean {
  return devices.some(({ underlay, local }) => addresses.get(underlay)?.some((one) => one.address === local) ?? false);
}

function address(text: string | null): Address {
  return understood(text && parseAddress(text), text);
}

function mac(text: string | null): Mac {
  return understood(text && parseMac(text), text);
}

function prefix(text: string): Prefix {
  return understood(parsePrefix(text), text);
}

function understood<T>(value: T | undefined | null | "", text: string | null): T {
  if (value) return value;
  throw new Error(`the agent names ${JSON.stringify(text)} where an address has to be`);
}

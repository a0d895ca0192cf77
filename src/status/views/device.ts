import type * as v from "valibot";
import type * as api from "../../api/kernel.ts";
import type { DesiredDevice } from "../../desired/desired.ts";
import type { Actual } from "../../kernel/mirror.ts";
import { familyOfDevice } from "../../kernel/owned.ts";
import type { Link, VxlanState } from "../../kernel/state.ts";
import { formatPrefix } from "../../net/prefix.ts";
import { familyName, onOff } from "./values.ts";

export function desiredDeviceView(
  { neighbours, forwarding, ...device }: DesiredDevice,
  actual: Actual | undefined,
): v.InferOutput<typeof api.DesiredDevice> {
  const link = actual?.links.values().find(({ name }) => name === device.name);
  return {
    name: device.name,
    family: familyName(device.family),
    vni: device.vni,
    port: device.port ?? null,
    gbp: device.gbp,
    learning: device.learning,
    mac: device.mac,
    mtu: device.mtu,
    local: device.local,
    underlay: device.underlay,
    address: device.address,
    network: formatPrefix(device.network),
    txChecksum: {
      wanted: onOff(device.txChecksum.wanted),
      actual: onOff(link?.txChecksum),
      why: device.txChecksum.why,
    },
    neighbours: neighbours.size,
    forwarding: forwarding.size,
  };
}

export function kernelDeviceView(
  link: Link & { readonly vxlan: VxlanState },
  { addresses }: Actual,
): v.InferOutput<typeof api.KernelDevice> {
  const { vxlan } = link;
  const family = familyOfDevice(link);
  const own = addresses.get(link.index)?.find((address) => address.family === family && !isLinkLocal(address.address));
  return {
    name: link.name,
    family: familyName(family),
    vni: vxlan.vni,
    port: vxlan.port,
    gbp: vxlan.gbp,
    learning: vxlan.learning,
    mac: link.mac ?? null,
    mtu: link.mtu,
    local: vxlan.local ?? null,
    underlay: vxlan.underlay,
    address: own?.address ?? null,
    index: link.index,
    up: link.up,
    txChecksum: onOff(link.txChecksum),
  };
}

function isLinkLocal(address: string): boolean {
  return address.startsWith("fe80:");
}

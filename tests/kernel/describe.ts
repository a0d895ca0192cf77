import { RTN_UNICAST } from "../../src/ffi/constants.ts";
import type { ForwardingEntry, Link, Neighbour, Route } from "../../src/kernel/state.ts";
import { formatPrefix } from "../../src/net/prefix.ts";

/** Each thing of the kernel's state as a line, much as `ip` and `bridge` show it. */

export function describeLink({ index, name, kind, vxlan, mac, mtu, up, alias }: Link): string {
  const { vni, port, local, underlay, group, learning, gbp, l2miss } = vxlan ?? {};
  const flags = Object.entries({ learning, gbp, l2miss, up }).map(([flag, on]) => (on ? ` ${flag}` : ""));
  const options = vxlan
    ? ` id ${vni} dstport ${port} local ${local} dev ${underlay}${group ? ` group ${group}` : ""}`
    : "";
  return `${index}: ${name} ${kind}${options} ${mac} mtu ${mtu}${flags.join("")}${alias ? ` alias ${alias}` : ""}`;
}

export function describeRoute({ destination, gateway, index, onlink, protocol, type, priority, tos }: Route): string {
  const via = gateway === undefined ? "" : ` via ${gateway}`;
  const rest = `${type === RTN_UNICAST ? "" : ` type ${type}`}${priority ? ` metric ${priority}` : ""}${tos ? ` tos ${tos}` : ""}`;
  return `route ${formatPrefix(destination)}${via} dev ${index} proto ${protocol}${onlink ? " onlink" : ""}${rest}`;
}

export function describeNeighbour({ index, address, mac, permanent }: Neighbour): string {
  return `${index}: neighbour ${address} lladdr ${mac}${permanent ? " permanent" : ""}`;
}

export function describeForwarding({ index, mac, destination, permanent, special }: ForwardingEntry): string {
  return `${index}: fdb ${mac} dst ${destination}${permanent ? " permanent" : ""}${special ? " special" : ""}`;
}

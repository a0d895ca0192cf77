import * as c from "../ffi/constants.ts";
import { attributesOf, textOf, u16be, u32, type WireAttribute, type WireMessage } from "../ffi/libnl/wire.ts";
import { type Address, addressFromBytes, familyOf } from "../net/address.ts";
import { ADDRESS_BITS, type Family } from "../net/family.ts";
import { type Mac, macFromBytes } from "../net/mac.ts";
import { makePrefix } from "../net/prefix.ts";
import type {
  ForwardingEntry,
  InterfaceAddress,
  KernelEvent,
  Link,
  Neighbour,
  Route,
  RoutePlace,
  VxlanState,
} from "./state.ts";

/**
 * What a routing netlink message says, or undefined if it is not about what we follow (other families and tables,
 * cached routes, neighbours without an address). Dumps and notifications have the same form.
 */
export function decodeEvent(message: WireMessage): KernelEvent | undefined {
  const { type, payload } = message;
  switch (type) {
    case c.RTM_NEWLINK:
    case c.RTM_DELLINK: {
      const value = decodeLink(payload);
      return value && { kind: "link", deleted: type === c.RTM_DELLINK, value };
    }
    case c.RTM_NEWADDR:
    case c.RTM_DELADDR: {
      const value = decodeAddress(payload);
      return value && { kind: "address", deleted: type === c.RTM_DELADDR, value };
    }
    case c.RTM_NEWROUTE:
    case c.RTM_DELROUTE: {
      const value = decodeRoute(payload);
      return (
        value && { kind: "route", deleted: type === c.RTM_DELROUTE, value, place: placeOf(message.flags, value.family) }
      );
    }
    case c.RTM_NEWNEIGH:
    case c.RTM_DELNEIGH: {
      const deleted = type === c.RTM_DELNEIGH;
      if (payload[0] === c.AF_BRIDGE) {
        const value = decodeForwarding(payload);
        return value && { kind: "forwarding", deleted, value };
      }
      const value = decodeNeighbour(payload);
      return value && { kind: "neighbour", deleted, value };
    }
    default:
      return undefined;
  }
}

function placeOf(flags: number, family: Family): RoutePlace {
  if (flags & c.NLM_F_REPLACE) return "replace";
  // IPv6 puts each new route behind those with the same key.
  return family === 6 || flags & c.NLM_F_APPEND ? "last" : "first";
}

function familyFrom(value: number | undefined): Family | undefined {
  if (value === c.AF_INET) return 4;
  return value === c.AF_INET6 ? 6 : undefined;
}

function addressFrom(bytes: Uint8Array): Address | undefined {
  return bytes.length === 4 || bytes.length === 16 ? addressFromBytes(bytes) : undefined;
}

function macFrom(bytes: Uint8Array): Mac | undefined {
  return bytes.length === 6 ? macFromBytes(bytes) : undefined;
}

function find(attributes: readonly WireAttribute[], type: number): Uint8Array | undefined {
  return attributes.find((attribute) => attribute.type === type)?.value;
}

function decodeLink(payload: Uint8Array): Link | undefined {
  // Bridges report their ports as links of AF_BRIDGE; those say nothing of the link itself.
  if (payload.length < 16 || payload[0] !== c.AF_UNSPEC) return undefined;
  const attributes = attributesOf(payload, 16);
  const info = find(attributes, c.IFLA_LINKINFO);
  const nested = info ? attributesOf(info) : [];
  const kind = textOf(find(nested, c.IFLA_INFO_KIND) ?? new Uint8Array());
  const data = find(nested, c.IFLA_INFO_DATA);
  const mac = find(attributes, c.IFLA_ADDRESS);
  return {
    index: u32(payload, 4),
    name: textOf(find(attributes, c.IFLA_IFNAME) ?? new Uint8Array()),
    kind,
    alias: textOf(find(attributes, c.IFLA_IFALIAS) ?? new Uint8Array()),
    mac: mac && macFrom(mac),
    mtu: u32(find(attributes, c.IFLA_MTU) ?? new Uint8Array(), 0),
    up: (u32(payload, 8) & c.IFF_UP) !== 0,
    vxlan: kind === "vxlan" && data ? decodeVxlan(data) : undefined,
  };
}

function decodeVxlan(data: Uint8Array): VxlanState {
  const attributes = attributesOf(data);
  const number = (type: number): number => u32(find(attributes, type) ?? new Uint8Array(), 0);
  const flag = (type: number): boolean => find(attributes, type)?.[0] === 1;
  const address = (type4: number, type6: number): Address | undefined => {
    const bytes = find(attributes, type4) ?? find(attributes, type6);
    return bytes && addressFrom(bytes);
  };
  return {
    vni: number(c.IFLA_VXLAN_ID),
    port: u16be(find(attributes, c.IFLA_VXLAN_PORT) ?? new Uint8Array(), 0),
    local: address(c.IFLA_VXLAN_LOCAL, c.IFLA_VXLAN_LOCAL6),
    underlay: number(c.IFLA_VXLAN_LINK),
    group: address(c.IFLA_VXLAN_GROUP, c.IFLA_VXLAN_GROUP6),
    learning: flag(c.IFLA_VXLAN_LEARNING),
    // A flag without a value: being there is being set.
    gbp: find(attributes, c.IFLA_VXLAN_GBP) !== undefined,
    l2miss: flag(c.IFLA_VXLAN_L2MISS),
  };
}

function decodeAddress(payload: Uint8Array): InterfaceAddress | undefined {
  const family = familyFrom(payload[0]);
  if (payload.length < 8 || family === undefined) return undefined;
  const attributes = attributesOf(payload, 8);
  // On a point-to-point link IFA_ADDRESS is the other end's.
  const bytes = find(attributes, c.IFA_LOCAL) ?? find(attributes, c.IFA_ADDRESS);
  const address = bytes && addressFrom(bytes);
  if (address === undefined) return undefined;
  const wide = find(attributes, c.IFA_FLAGS);
  const flags = wide ? u32(wide, 0) : (payload[2] ?? 0);
  return {
    index: u32(payload, 4),
    family,
    address,
    length: payload[1] ?? 0,
    deprecated: (flags & c.IFA_F_DEPRECATED) !== 0,
    duplicate: (flags & c.IFA_F_DADFAILED) !== 0,
    permanent: (flags & c.IFA_F_PERMANENT) !== 0,
    temporary: (flags & c.IFA_F_TEMPORARY) !== 0,
  };
}

const ANY: Readonly<Record<Family, Address>> = { 4: "0.0.0.0" as Address, 6: "::" as Address };

function decodeRoute(payload: Uint8Array): Route | undefined {
  const family = familyFrom(payload[0]);
  if (payload.length < 12 || family === undefined) return undefined;
  const flags = u32(payload, 8);
  if (flags & c.RTM_F_CLONED) return undefined;
  let table = payload[4] ?? 0;
  let destination: Address | undefined = ANY[family];
  let gateway: Address | undefined;
  let index = 0;
  let priority = 0;
  for (const { type, value } of attributesOf(payload, 12)) {
    if (type === c.RTA_TABLE) table = u32(value, 0);
    else if (type === c.RTA_DST) destination = addressFrom(value);
    else if (type === c.RTA_GATEWAY) gateway = addressFrom(value);
    else if (type === c.RTA_OIF) index = u32(value, 0);
    else if (type === c.RTA_PRIORITY) priority = u32(value, 0);
  }
  const length = payload[1] ?? 0;
  if (table !== c.RT_TABLE_MAIN || destination === undefined) return undefined;
  if (familyOf(destination) !== family || length > ADDRESS_BITS[family]) return undefined;
  return {
    family,
    destination: makePrefix(destination, length),
    gateway,
    index,
    onlink: (flags & c.RTNH_F_ONLINK) !== 0,
    protocol: payload[5] ?? 0,
    type: payload[7] ?? 0,
    priority,
    tos: payload[3] ?? 0,
  };
}

function decodeNeighbour(payload: Uint8Array): Neighbour | undefined {
  if (payload.length < 12 || familyFrom(payload[0]) === undefined) return undefined;
  let address: Address | undefined;
  let mac: Mac | undefined;
  for (const { type, value } of attributesOf(payload, 12)) {
    if (type === c.NDA_DST) address = addressFrom(value);
    else if (type === c.NDA_LLADDR) mac = macFrom(value);
  }
  if (address === undefined) return undefined;
  return { index: u32(payload, 4), address, mac, permanent: (u32(payload, 8) & c.NUD_PERMANENT) !== 0 };
}

function decodeForwarding(payload: Uint8Array): ForwardingEntry | undefined {
  // Without this flag it is a bridge's, whose port the device is.
  if (payload.length < 12 || !((payload[10] ?? 0) & c.NTF_SELF)) return undefined;
  let mac: Mac | undefined;
  let destination: Address | undefined;
  let special = false;
  for (const { type, value } of attributesOf(payload, 12)) {
    if (type === c.NDA_LLADDR) mac = macFrom(value);
    else if (type === c.NDA_DST) destination = addressFrom(value);
    else if (type === c.NDA_PORT || type === c.NDA_VNI || type === c.NDA_IFINDEX || type === c.NDA_NH_ID)
      special = true;
  }
  if (mac === undefined) return undefined;
  const permanent = (u32(payload, 8) & (c.NUD_PERMANENT | c.NUD_NOARP)) !== 0;
  return { index: u32(payload, 4), mac, destination, permanent, special };
}

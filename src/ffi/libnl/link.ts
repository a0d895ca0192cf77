import type { Pointer } from "bun:ffi";
import type { Address } from "../../net/address.ts";
import { familyOf } from "../../net/address.ts";
import type { Mac } from "../../net/mac.ts";
import { IFF_UP, NLM_F_CREATE, NLM_F_EXCL } from "../constants.ts";
import { AddressHandle } from "./address-handle.ts";
import { buildMessage, type Message } from "./message.ts";
import { allocated, check, cString, nlRoute } from "./symbols.ts";

/** RTNL_LINK_VXLAN_F_GBP (netlink/route/link/vxlan.h) */
const F_GBP = 1;

export interface VxlanParameters {
  readonly vni: number;
  /** UDP; undefined takes the kernel's default, 8472 */
  readonly port: number | undefined;
  readonly gbp: boolean;
  readonly learning: boolean;
  /** source address of encapsulated packets */
  readonly local: Address;
  /** ifindex of the interface below */
  readonly underlay: number;
}

/** Attributes that any link has. `alias` marks a device as somebody's (ip-link(8), `alias`). */
export interface LinkParameters {
  readonly name: string;
  readonly mac: Mac;
  readonly mtu: number;
  readonly up: boolean;
  readonly alias: string;
}

/** The attributes that can be changed in place on a VXLAN device; what is undefined stays as it is. */
export type LinkChanges = Partial<
  Omit<LinkParameters, "name"> & Pick<VxlanParameters, "learning" | "local" | "underlay">
>;

/** Owns the link object and what it needs while one message is built. */
function withLink(vxlan: boolean, build: (link: Pointer, address: (a: Address | Mac) => Pointer) => Message): Message {
  const lib = nlRoute();
  const link = allocated(vxlan ? lib.rtnl_link_vxlan_alloc() : lib.rtnl_link_alloc(), "a link");
  const handles: AddressHandle[] = [];
  const own = (handle: AddressHandle): Pointer => {
    handles.push(handle);
    return handle.pointer;
  };
  try {
    return build(link, (value) => {
      const isMac = value.length === 17 && value.split(":").length === 6;
      return isMac
        ? own(AddressHandle.forMac().setMac(value as Mac))
        : own(AddressHandle.forFamily(familyOf(value as Address)).setAddress(value as Address));
    });
  } finally {
    for (const handle of handles) handle[Symbol.dispose]();
    lib.rtnl_link_put(link);
  }
}

function setCommon(link: Pointer, changes: LinkChanges, address: (a: Address | Mac) => Pointer): void {
  const lib = nlRoute();
  if (changes.mac !== undefined) lib.rtnl_link_set_addr(link, address(changes.mac));
  if (changes.mtu !== undefined) lib.rtnl_link_set_mtu(link, changes.mtu);
  if (changes.alias !== undefined) lib.rtnl_link_set_ifalias(link, cString(changes.alias));
  if (changes.up === true) lib.rtnl_link_set_flags(link, IFF_UP);
  if (changes.learning !== undefined) {
    check(lib.rtnl_link_vxlan_set_learning(link, changes.learning ? 1 : 0), "set learning");
  }
  if (changes.local !== undefined)
    check(lib.rtnl_link_vxlan_set_local(link, address(changes.local)), "set local address");
  if (changes.underlay !== undefined) check(lib.rtnl_link_vxlan_set_link(link, changes.underlay), "set underlay");
}

/** RTM_NEWLINK for a new VXLAN device (ip-link(8), `type vxlan`); EEXIST if the name or the VNI with the port is taken. */
export function addVxlan(parameters: LinkParameters & VxlanParameters): Message {
  return withLink(true, (link, address) => {
    const lib = nlRoute();
    lib.rtnl_link_set_name(link, cString(parameters.name));
    check(lib.rtnl_link_vxlan_set_id(link, parameters.vni), "set VNI");
    if (parameters.port !== undefined) check(lib.rtnl_link_vxlan_set_port(link, parameters.port), "set port");
    if (parameters.gbp) check(lib.rtnl_link_vxlan_set_flags(link, F_GBP, 1), "set GBP");
    setCommon(link, parameters, address);
    return buildMessage("build a link request", (out) =>
      lib.rtnl_link_build_add_request(link, NLM_F_CREATE | NLM_F_EXCL, out),
    );
  });
}

/** RTM_NEWLINK that changes attributes of an existing link in place. */
export function changeLink(index: number, changes: LinkChanges): Message {
  const { learning, local, underlay } = changes;
  const vxlan = learning !== undefined || local !== undefined || underlay !== undefined;
  return withLink(vxlan, (link, address) => {
    const lib = nlRoute();
    setCommon(link, changes, address);
    return withLink(false, (original) => {
      lib.rtnl_link_set_ifindex(original, index);
      return buildMessage("build a link request", (out) => lib.rtnl_link_build_change_request(original, link, 0, out));
    });
  });
}

/** RTM_DELLINK. */
export function deleteLink(index: number): Message {
  return withLink(false, (link) => {
    nlRoute().rtnl_link_set_ifindex(link, index);
    return buildMessage("build a link request", (out) => nlRoute().rtnl_link_build_delete_request(link, out));
  });
}

import type { Pointer } from "bun:ffi";
import { lazyLibrary } from "../library.ts";

/** libnl-3: sockets, messages, abstract addresses (netlink/netlink.h, msg.h, addr.h). */
export const nl = lazyLibrary("libnl-3.so.200", "libnl-3-200", {
  nl_socket_alloc: { args: [], returns: "ptr" },
  nl_socket_free: { args: ["ptr"], returns: "void" },
  nl_socket_get_fd: { args: ["ptr"], returns: "i32" },
  nl_socket_add_membership: { args: ["ptr", "i32"], returns: "i32" },
  nl_connect: { args: ["ptr", "i32"], returns: "i32" },
  nl_sendto: { args: ["ptr", "ptr", "usize"], returns: "i32" },
  nl_geterror: { args: ["i32"], returns: "cstring" },
  nlmsg_alloc_simple: { args: ["i32", "i32"], returns: "ptr" },
  nlmsg_append: { args: ["ptr", "ptr", "usize", "i32"], returns: "i32" },
  nlmsg_hdr: { args: ["ptr"], returns: "ptr" },
  nlmsg_free: { args: ["ptr"], returns: "void" },
  nl_addr_build: { args: ["i32", "ptr", "usize"], returns: "ptr" },
  nl_addr_set_binary_addr: { args: ["ptr", "ptr", "usize"], returns: "i32" },
  nl_addr_set_prefixlen: { args: ["ptr", "i32"], returns: "void" },
  nl_addr_put: { args: ["ptr"], returns: "void" },
});

/** libnl-route-3: links, addresses, routes, neighbours (netlink/route/*.h). */
export const nlRoute = lazyLibrary("libnl-route-3.so.200", "libnl-route-3-200", {
  rtnl_link_alloc: { args: [], returns: "ptr" },
  rtnl_link_vxlan_alloc: { args: [], returns: "ptr" },
  rtnl_link_put: { args: ["ptr"], returns: "void" },
  rtnl_link_set_name: { args: ["ptr", "ptr"], returns: "void" },
  rtnl_link_set_ifalias: { args: ["ptr", "ptr"], returns: "void" },
  rtnl_link_set_ifindex: { args: ["ptr", "i32"], returns: "void" },
  rtnl_link_set_mtu: { args: ["ptr", "u32"], returns: "void" },
  rtnl_link_set_addr: { args: ["ptr", "ptr"], returns: "void" },
  rtnl_link_set_flags: { args: ["ptr", "u32"], returns: "void" },
  rtnl_link_vxlan_set_id: { args: ["ptr", "u32"], returns: "i32" },
  rtnl_link_vxlan_set_link: { args: ["ptr", "u32"], returns: "i32" },
  rtnl_link_vxlan_set_local: { args: ["ptr", "ptr"], returns: "i32" },
  rtnl_link_vxlan_set_port: { args: ["ptr", "u32"], returns: "i32" },
  rtnl_link_vxlan_set_learning: { args: ["ptr", "u8"], returns: "i32" },
  rtnl_link_vxlan_set_flags: { args: ["ptr", "u32", "i32"], returns: "i32" },
  rtnl_link_build_add_request: { args: ["ptr", "i32", "ptr"], returns: "i32" },
  rtnl_link_build_change_request: { args: ["ptr", "ptr", "i32", "ptr"], returns: "i32" },
  rtnl_link_build_delete_request: { args: ["ptr", "ptr"], returns: "i32" },
  rtnl_addr_alloc: { args: [], returns: "ptr" },
  rtnl_addr_put: { args: ["ptr"], returns: "void" },
  rtnl_addr_set_ifindex: { args: ["ptr", "i32"], returns: "void" },
  rtnl_addr_set_local: { args: ["ptr", "ptr"], returns: "i32" },
  rtnl_addr_set_flags: { args: ["ptr", "u32"], returns: "void" },
  rtnl_addr_build_add_request: { args: ["ptr", "i32", "ptr"], returns: "i32" },
  rtnl_addr_build_delete_request: { args: ["ptr", "i32", "ptr"], returns: "i32" },
  rtnl_route_alloc: { args: [], returns: "ptr" },
  rtnl_route_put: { args: ["ptr"], returns: "void" },
  rtnl_route_set_table: { args: ["ptr", "u32"], returns: "void" },
  rtnl_route_set_scope: { args: ["ptr", "u8"], returns: "void" },
  rtnl_route_set_protocol: { args: ["ptr", "u8"], returns: "void" },
  rtnl_route_set_priority: { args: ["ptr", "u32"], returns: "void" },
  rtnl_route_set_type: { args: ["ptr", "i32"], returns: "i32" },
  rtnl_route_set_dst: { args: ["ptr", "ptr"], returns: "i32" },
  rtnl_route_add_nexthop: { args: ["ptr", "ptr"], returns: "void" },
  rtnl_route_nh_alloc: { args: [], returns: "ptr" },
  rtnl_route_nh_set_ifindex: { args: ["ptr", "i32"], returns: "void" },
  rtnl_route_nh_set_gateway: { args: ["ptr", "ptr"], returns: "void" },
  rtnl_route_nh_set_flags: { args: ["ptr", "u32"], returns: "void" },
  rtnl_route_build_add_request: { args: ["ptr", "i32", "ptr"], returns: "i32" },
  rtnl_route_build_del_request: { args: ["ptr", "i32", "ptr"], returns: "i32" },
  rtnl_neigh_alloc: { args: [], returns: "ptr" },
  rtnl_neigh_put: { args: ["ptr"], returns: "void" },
  rtnl_neigh_set_ifindex: { args: ["ptr", "i32"], returns: "void" },
  rtnl_neigh_set_family: { args: ["ptr", "i32"], returns: "void" },
  rtnl_neigh_set_state: { args: ["ptr", "i32"], returns: "void" },
  rtnl_neigh_set_flags: { args: ["ptr", "u32"], returns: "void" },
  rtnl_neigh_set_lladdr: { args: ["ptr", "ptr"], returns: "void" },
  rtnl_neigh_set_dst: { args: ["ptr", "ptr"], returns: "i32" },
  rtnl_neigh_build_add_request: { args: ["ptr", "i32", "ptr"], returns: "i32" },
  rtnl_neigh_build_delete_request: { args: ["ptr", "i32", "ptr"], returns: "i32" },
});

/** An error of libnl itself, before anything reached the kernel (netlink/errno.h). */
class LibnlError extends Error {
  override readonly name = "LibnlError";

  constructor(operation: string, code: number) {
    super(`${operation}: libnl: ${String(nl().nl_geterror(code))}`);
  }
}

/** Throws if a libnl function returned an error (a negative NLE_* code). */
export function check(code: number, operation: string): void {
  if (code < 0) throw new LibnlError(operation, code);
}

/** What an allocating function returned; libnl answers NULL only when memory is out. */
export function allocated(pointer: Pointer | bigint | null, what: string): Pointer {
  if (pointer === null) throw new Error(`libnl could not allocate ${what}: out of memory`);
  // User space addresses have at most 57 bits in theory and 47 in practice: a number holds them.
  return Number(pointer) as Pointer;
}

/** A NUL-terminated string for C. Pass it only as an argument: the callee copies it. */
export function cString(text: string): Uint8Array {
  return new TextEncoder().encode(`${text}\0`);
}

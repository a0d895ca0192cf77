import type { Pointer } from "bun:ffi";
import type { Address } from "../../net/address.ts";
import type { Family } from "../../net/family.ts";
import type { Mac } from "../../net/mac.ts";
import type { Prefix } from "../../net/prefix.ts";
import {
  AF_BRIDGE,
  IFA_F_NODAD,
  NLM_F_CREATE,
  NLM_F_REPLACE,
  NTF_SELF,
  NUD_PERMANENT,
  RT_SCOPE_NOWHERE,
  RT_SCOPE_UNIVERSE,
  RT_TABLE_MAIN,
  RTN_BLACKHOLE,
  RTN_UNICAST,
  RTNH_F_ONLINK,
} from "../constants.ts";
import { AddressHandle, addressFamily } from "./address-handle.ts";
import { buildMessage, type Message } from "./message.ts";
import { allocated, check, nlRoute } from "./symbols.ts";

/**
 * Builders of the messages that come by the thousand. Each owns one libnl object and the addresses in it, and sets them
 * anew for every message: about five calls an entry instead of twenty.
 */

export interface RouteParameters {
  readonly destination: Prefix;
  readonly gateway: Address | undefined;
  /** ifindex */
  readonly device: number;
  /** the gateway is taken as reachable on the device although no address covers it */
  readonly onlink: boolean;
  /** RTPROT_*: who made it */
  readonly protocol: number;
}

export class RouteBuilder implements Disposable {
  readonly #route: Pointer;
  readonly #destination: AddressHandle;
  readonly #gateway: AddressHandle;
  readonly #hop: Pointer;

  /** @param metric of all of them; 0 means, as in the kernel, that a deletion takes the first of whatever metric */
  constructor(family: Family, metric: number) {
    const lib = nlRoute();
    this.#route = allocated(lib.rtnl_route_alloc(), "a route");
    lib.rtnl_route_set_priority(this.#route, metric);
    this.#destination = AddressHandle.forFamily(family);
    this.#gateway = AddressHandle.forFamily(family);
    // The route owns its next hop once it is added.
    this.#hop = allocated(lib.rtnl_route_nh_alloc(), "a next hop");
    lib.rtnl_route_add_nexthop(this.#route, this.#hop);
    lib.rtnl_route_set_table(this.#route, RT_TABLE_MAIN);
    check(lib.rtnl_route_set_type(this.#route, RTN_UNICAST), "set route type");
    check(lib.rtnl_route_set_dst(this.#route, this.#destination.pointer), "set route destination");
  }

  /** RTM_NEWROUTE that takes the place of a route with the same destination, or is new. */
  replace(parameters: RouteParameters): Message {
    this.#set(parameters);
    nlRoute().rtnl_route_set_scope(this.#route, RT_SCOPE_UNIVERSE);
    return buildMessage("build a route request", (out) =>
      nlRoute().rtnl_route_build_add_request(this.#route, NLM_F_CREATE | NLM_F_REPLACE, out),
    );
  }

  /** RTM_DELROUTE of exactly this route, of whatever scope. */
  delete(parameters: RouteParameters): Message {
    this.#set(parameters);
    nlRoute().rtnl_route_set_scope(this.#route, RT_SCOPE_NOWHERE);
    return buildMessage("build a route request", (out) => nlRoute().rtnl_route_build_del_request(this.#route, 0, out));
  }

  #set({ destination, gateway, device, onlink, protocol }: RouteParameters): void {
    const lib = nlRoute();
    this.#destination.setAddress(destination.address, destination.length);
    if (gateway !== undefined) this.#gateway.setAddress(gateway);
    lib.rtnl_route_nh_set_gateway(this.#hop, gateway === undefined ? null : this.#gateway.pointer);
    lib.rtnl_route_nh_set_ifindex(this.#hop, device);
    lib.rtnl_route_nh_set_flags(this.#hop, onlink ? RTNH_F_ONLINK : 0);
    lib.rtnl_route_set_protocol(this.#route, protocol);
  }

  [Symbol.dispose](): void {
    nlRoute().rtnl_route_put(this.#route);
    this.#destination[Symbol.dispose]();
    this.#gateway[Symbol.dispose]();
  }
}

/** RTM_NEWROUTE or RTM_DELROUTE of a route whose packets are dropped (ip-route(8), `blackhole`). */
export function blackholeRoute(
  verb: "replace" | "delete",
  { destination, metric, protocol }: { destination: Prefix; metric: number; protocol: number },
): Message {
  const lib = nlRoute();
  using address = AddressHandle.forFamily(destination.family).setAddress(destination.address, destination.length);
  const route = allocated(lib.rtnl_route_alloc(), "a route");
  try {
    lib.rtnl_route_set_table(route, RT_TABLE_MAIN);
    lib.rtnl_route_set_scope(route, verb === "replace" ? RT_SCOPE_UNIVERSE : RT_SCOPE_NOWHERE);
    lib.rtnl_route_set_protocol(route, protocol);
    lib.rtnl_route_set_priority(route, metric);
    check(lib.rtnl_route_set_type(route, RTN_BLACKHOLE), "set route type");
    check(lib.rtnl_route_set_dst(route, address.pointer), "set route destination");
    return buildMessage("build a route request", (out) =>
      verb === "replace"
        ? lib.rtnl_route_build_add_request(route, NLM_F_CREATE | NLM_F_REPLACE, out)
        : lib.rtnl_route_build_del_request(route, 0, out),
    );
  } finally {
    lib.rtnl_route_put(route);
  }
}

/** A permanent entry that maps an address to an Ethernet address (ip-neighbour(8)). */
export interface NeighbourParameters {
  readonly device: number;
  readonly address: Address;
  readonly mac: Mac;
}

/** Builds neighbours, and forwarding entries, which are neighbours of the family AF_BRIDGE. */
export class NeighbourBuilder implements Disposable {
  readonly #neighbour: Pointer;
  readonly #destination: AddressHandle;
  readonly #mac: AddressHandle;

  /** @param kind `forwarding` maps an Ethernet address to the public address of the node behind it (bridge-fdb(8)) */
  constructor(family: Family, kind: "neighbour" | "forwarding") {
    const lib = nlRoute();
    this.#neighbour = allocated(lib.rtnl_neigh_alloc(), "a neighbour");
    this.#destination = AddressHandle.forFamily(family);
    this.#mac = AddressHandle.forMac();
    lib.rtnl_neigh_set_lladdr(this.#neighbour, this.#mac.pointer);
    // Setting the destination sets the family too, so that of a forwarding entry comes after it.
    check(lib.rtnl_neigh_set_dst(this.#neighbour, this.#destination.pointer), "set neighbour address");
    lib.rtnl_neigh_set_family(this.#neighbour, kind === "forwarding" ? AF_BRIDGE : addressFamily(family));
    if (kind === "forwarding") lib.rtnl_neigh_set_flags(this.#neighbour, NTF_SELF);
    lib.rtnl_neigh_set_state(this.#neighbour, NUD_PERMANENT);
  }

  /** RTM_NEWNEIGH that takes the place of the entry with the same key, or is new. */
  replace(parameters: NeighbourParameters): Message {
    this.#set(parameters);
    return buildMessage("build a neighbour request", (out) =>
      nlRoute().rtnl_neigh_build_add_request(this.#neighbour, NLM_F_CREATE | NLM_F_REPLACE, out),
    );
  }

  /** RTM_DELNEIGH. */
  delete(parameters: NeighbourParameters): Message {
    this.#set(parameters);
    return buildMessage("build a neighbour request", (out) =>
      nlRoute().rtnl_neigh_build_delete_request(this.#neighbour, 0, out),
    );
  }

  #set({ device, address, mac }: NeighbourParameters): void {
    nlRoute().rtnl_neigh_set_ifindex(this.#neighbour, device);
    this.#destination.setAddress(address);
    this.#mac.setMac(mac);
  }

  [Symbol.dispose](): void {
    nlRoute().rtnl_neigh_put(this.#neighbour);
    this.#destination[Symbol.dispose]();
    this.#mac[Symbol.dispose]();
  }
}

/** RTM_NEWADDR or RTM_DELADDR (ip-address(8)), for IPv6 with `nodad`; EEXIST and EADDRNOTAVAIL say that it was so already. */
export function interfaceAddress(
  verb: "add" | "delete",
  device: number,
  address: Address,
  length: number,
  family: Family,
): Message {
  const lib = nlRoute();
  using local = AddressHandle.forFamily(family).setAddress(address, length);
  const object = allocated(lib.rtnl_addr_alloc(), "an address object");
  try {
    lib.rtnl_addr_set_ifindex(object, device);
    check(lib.rtnl_addr_set_local(object, local.pointer), "set interface address");
    if (family === 6) lib.rtnl_addr_set_flags(object, IFA_F_NODAD);
    return buildMessage("build an address request", (out) =>
      verb === "add"
        ? lib.rtnl_addr_build_add_request(object, NLM_F_CREATE, out)
        : lib.rtnl_addr_build_delete_request(object, 0, out),
    );
  } finally {
    lib.rtnl_addr_put(object);
  }
}

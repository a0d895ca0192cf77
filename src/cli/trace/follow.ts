import { constants } from "node:os";
import type { SubnetEnv } from "../../config/subnet-env.ts";
import { OVERHEAD } from "../../desired/vxlan.ts";
import * as c from "../../ffi/constants.ts";
import { KernelError } from "../../ffi/errors.ts";
import { isOwnDevice } from "../../kernel/owned.ts";
import type { FoundRoute } from "../../kernel/route-lookup.ts";
import type { ForwardingEntry, Link, Neighbour } from "../../kernel/state.ts";
import { type Address, familyOf } from "../../net/address.ts";
import type { Family } from "../../net/family.ts";
import type { Mac } from "../../net/mac.ts";
import { containsAddress, formatPrefix } from "../../net/prefix.ts";
import type { RulesInKernel } from "../../rules/leftovers.ts";
import { Findings } from "./findings.ts";
import { beyond, nameOf, whyPeer } from "./peer.ts";
import type { TargetKind, TargetLease, Trace } from "./result.ts";

/** The kernel, asked one thing after the other. */
export interface KernelView {
  /** @throws KernelError */
  lookUp(target: Address, options?: { readonly entry?: boolean }): FoundRoute;
  link(index: number): Link | undefined;
  neighbour(index: number, address: Address): Neighbour | undefined;
  forwarding(index: number, mac: Mac): ForwardingEntry | undefined;
  /** our device for packets of this family */
  overlay(family: Family): Link | undefined;
  /** net.ipv4.ip_forward or net.ipv6.conf.all.forwarding; undefined where it can't be read */
  forwards(family: Family): boolean | undefined;
}

export interface TraceInput {
  readonly target: Address;
  readonly kernel: KernelView;
  readonly subnetEnv: SubnetEnv | undefined;
  /** undefined: the agent does not answer; null: it knows no lease that holds the address */
  readonly lease: TargetLease | null | undefined;
  /** undefined: it can't be told */
  readonly rules: RulesInKernel | undefined;
}

const SERVICES = "others' rules, such as kube-proxy's, are not followed: for a service's address trace its endpoints";

/** Follows a packet from this node (or a pod of it) to `target`, step by step as the kernel would. */
export function follow(input: TraceInput): Trace {
  const { target, kernel, lease } = input;
  const found = new Findings(lease !== undefined);
  const kind = kindOf(input);
  const arrives = new Path(input, found, kind).walk();
  const family = familyOf(target);
  if (found.loss === undefined && kind !== "local" && kernel.forwards(family) === false) {
    const name = family === 4 ? "net.ipv4.ip_forward" : "net.ipv6.conf.all.forwarding";
    if (kind === "outside") found.note(`${name} is 0, so packets of pods are not forwarded`);
    else
      found.lost("forwarding", `${name} is 0`, {
        problem: `the kernel forwards no IPv${family} packets, so those of pods are lost`,
        fix: `sysctl -w ${name}=1`,
      });
  }
  if (kind === "outside") found.note(SERVICES);
  const { steps, loss, notes } = found;
  return { target, kind, lease, steps, loss, arrives, beyond: loss === undefined ? beyond(lease) : undefined, notes };
}

function kindOf({ target, kernel, subnetEnv, lease }: TraceInput): TargetKind {
  if (safely(() => kernel.lookUp(target))?.type === c.RTN_LOCAL) return "local";
  const own = subnetEnv?.subnets[familyOf(target)];
  if (lease?.own || (own !== undefined && containsAddress(own, target))) return "localPod";
  const inNetwork = subnetEnv?.networks.some((network) => containsAddress(network, target)) ?? false;
  if (lease || inNetwork) return "pod";
  // Without subnet.env and the agent the device tells.
  const link = kernel.link(safely(() => kernel.lookUp(target))?.index ?? 0);
  return link !== undefined && isOwnDevice(link) ? "pod" : "outside";
}

function safely<T>(look: () => T): T | undefined {
  try {
    return look();
  } catch {
    return undefined;
  }
}

class Path {
  readonly #input: TraceInput;
  readonly #found: Findings;
  readonly #kind: TargetKind;

  constructor(input: TraceInput, found: Findings, kind: TargetKind) {
    this.#input = input;
    this.#found = found;
    this.#kind = kind;
  }

  /** @returns where it goes */
  walk(): string {
    const { target, kernel } = this.#input;
    const route = this.#route();
    if (route === undefined) return "";
    if (route.type === c.RTN_LOCAL) return `${target} is an address of this node itself.`;
    const link = kernel.link(route.index);
    if (link === undefined) {
      this.#found.lost("device", `there is no interface ${route.index}`, GONE);
      return "";
    }
    if (isOwnDevice(link)) return this.#overlay(route, link);
    if (this.#kind === "pod") return this.#wrongDevice(link);
    this.#found.ok("device", describe(link));
    if (!link.up) this.#down(link);
    return this.#kind === "localPod" ? this.#localPod(link) : this.#outside(route, link);
  }

  #route(): FoundRoute | undefined {
    const { target, kernel } = this.#input;
    let route: FoundRoute;
    try {
      route = kernel.lookUp(target);
    } catch (error) {
      if (!(error instanceof KernelError)) throw error;
      this.#noRoute(error.errno);
      return undefined;
    }
    const entry = safely(() => kernel.lookUp(target, { entry: true }));
    const refused = REFUSING[route.type];
    if (refused !== undefined) {
      this.#noRoute(refused, entry);
      return undefined;
    }
    this.#found.ok("route", describeRoute(entry ?? route, kernel.link(route.index)?.name));
    return route;
  }

  #noRoute(code: number, entry?: FoundRoute): void {
    const { target } = this.#input;
    const what = entry && entry.destination.length > 0 ? ` (${formatPrefix(entry.destination)})` : "";
    const drops = DROPPING[code];
    const text = drops === undefined ? `none to ${target}` : `${drops}${what}`;
    if (this.#kind === "localPod") {
      this.#found.lost("route", text, {
        problem: `${target} is in this node's subnet, and no bridge takes it: no pod runs here yet, or its bridge is gone`,
        fix: "start a pod on this node, or look at the container runtime's log: the CNI plugin makes the bridge (cni0)",
      });
      return;
    }
    if (this.#kind === "pod") {
      this.#missingRoute(text);
      return;
    }
    this.#found.lost("route", text, {
      problem:
        drops === undefined ? `this node has no route to ${target}` : `a route of this node drops packets to ${target}`,
      fix:
        drops === undefined
          ? `add one, or a default route: ip route add default via GATEWAY`
          : "ip route show table all",
    });
  }

  /** In the pod network, and the way does not lead through our device. */
  #wrongDevice(link: Link): string {
    this.#missingRoute(`${this.#input.target} leaves by ${link.name}, which is not the overlay`, false);
    return "";
  }

  #missingRoute(text: string, first = true): void {
    const { target, lease } = this.#input;
    const step = first ? "route" : "device";
    if (lease === null) {
      this.#found.lost(step, text, {
        problem: `no node has a lease whose subnet holds ${target}`,
        fix: "check the address; if a node should have it, see tartan get leases, and tartan status on that node",
      });
      return;
    }
    if (lease?.peer?.state === "leftOut") {
      this.#found.lost(step, text, whyPeer(lease));
      return;
    }
    const device = this.#input.kernel.overlay(familyOf(target));
    if (device === undefined) {
      this.#found.lost(step, text, {
        problem: "this node has no VXLAN device for it, and so no way to other nodes' pods",
        fix: this.#found.repair("there is no way without it"),
      });
      return;
    }
    if (!device.up) {
      this.#down(device);
      return;
    }
    const missing = lease
      ? `the route to ${lease.subnet} of ${nameOf(lease)} is missing`
      : "the route to its subnet is missing";
    const byHand = lease
      ? `ip route replace ${lease.subnet} via ${lease.subnet.split("/")[0]} dev ${device.name} onlink`
      : `ip route replace SUBNET via ITS-FIRST-ADDRESS dev ${device.name} onlink`;
    this.#found.lost(step, text, { problem: missing, fix: this.#found.repair(byHand) });
  }

  #down(link: Link): void {
    this.#found.lost("device", `${link.name} is down`, {
      problem: `${link.name} is down`,
      fix: `ip link set ${link.name} up`,
    });
  }

  #overlay(route: FoundRoute, link: Link): string {
    const { target, kernel, lease } = this.#input;
    this.#found.ok("device", describe(link));
    if (!link.up) this.#down(link);
    const vtep = route.gateway ?? target;
    const neighbour = kernel.neighbour(link.index, vtep);
    const mac = neighbour?.mac;
    if (mac === undefined) {
      this.#found.lost("neighbour", `none for ${vtep} on ${link.name}`, {
        problem: `the neighbour entry for ${vtep} on ${link.name} is missing: no MAC to send to`,
        fix: this.#found.repair(
          `ip neigh replace ${vtep} lladdr ${lease?.vtepMAC ?? "ITS-VTEP-MAC"} dev ${link.name} nud permanent`,
        ),
      });
      return "";
    }
    this.#found.ok("neighbour", `${vtep} has the MAC ${mac}${neighbour?.permanent ? "" : ", learnt"}`);
    if (lease?.vtepMAC && lease.vtepMAC !== mac) {
      this.#found.lost("neighbour", `the lease has ${lease.vtepMAC}`, {
        problem: `the neighbour entry for ${vtep} has the MAC ${mac}, the lease of ${nameOf(lease)} ${lease.vtepMAC}`,
        fix: this.#found.repair(`ip neigh replace ${vtep} lladdr ${lease.vtepMAC} dev ${link.name} nud permanent`),
      });
    }
    return this.#encapsulated(link, mac);
  }

  #encapsulated(link: Link, mac: Mac): string {
    const { kernel, lease } = this.#input;
    const publicIP = kernel.forwarding(link.index, mac)?.destination;
    const byHand = `bridge fdb replace ${mac} dev ${link.name} dst ${lease?.publicIP ?? "ITS-PUBLIC-ADDRESS"} self permanent`;
    if (publicIP === undefined) {
      this.#found.lost("fdb", `no entry for ${mac} on ${link.name}`, {
        problem: `the forwarding entry (FDB) for ${mac} on ${link.name} is missing: no node to send to`,
        fix: this.#found.repair(byHand),
      });
      return "";
    }
    this.#found.ok("fdb", `${mac} is behind ${publicIP}`);
    if (lease?.publicIP && lease.publicIP !== publicIP) {
      this.#found.lost("fdb", `the lease has ${lease.publicIP}`, {
        problem: `the forwarding entry for ${mac} points to ${publicIP}, the lease of ${nameOf(lease)} has ${lease.publicIP}`,
        fix: this.#found.repair(byHand),
      });
    }
    this.#underlay(link, publicIP);
    this.#found.ok("masquerade", "none: both ends are in the pod network");
    return `The packet leaves this node to ${publicIP}${lease ? `, ${nameOf(lease)}` : ""}.`;
  }

  /** The way of the encapsulated packet. */
  #underlay(overlay: Link, publicIP: Address): void {
    const { kernel } = this.#input;
    let route: FoundRoute;
    try {
      route = kernel.lookUp(publicIP);
    } catch (error) {
      if (!(error instanceof KernelError)) throw error;
      this.#found.lost("underlay", `no route to ${publicIP}`, {
        problem: `this node has no route to ${publicIP}, the other node's public address`,
        fix: "bring the interface up, or add a route to it: ip route add default via GATEWAY",
      });
      return;
    }
    const link = kernel.link(route.index);
    if (link === undefined || REFUSING[route.type] !== undefined) {
      this.#found.lost("underlay", `no way to ${publicIP}`, GONE);
      return;
    }
    if (route.type === c.RTN_LOCAL) {
      this.#found.lost("underlay", `${publicIP} is this node's own`, {
        problem: `the other node's public address ${publicIP} is one of this node, too`,
        fix: "give each node an address of its own, see --public-ip",
      });
      return;
    }
    if (isOwnDevice(link)) {
      this.#found.lost("underlay", `${publicIP} leads into ${link.name} again`, {
        problem: `the other node's public address ${publicIP} is routed into the overlay itself`,
        fix: "let --iface choose an address outside of the pod network, on the other node",
      });
      return;
    }
    const via = route.gateway === undefined ? "" : ` via ${route.gateway}`;
    this.#found.ok("underlay", `${publicIP}${via} dev ${link.name}, MTU ${link.mtu}`);
    if (!link.up) this.#down(link);
    this.#source(overlay, route);
    this.#mtu(overlay, route.mtu ?? link.mtu, familyOf(publicIP), link.name);
    const next = kernel.neighbour(link.index, route.gateway ?? publicIP);
    if (next !== undefined && next.mac === undefined)
      this.#found.note(`${next.address} does not answer on ${link.name} (ARP or neighbour discovery)`);
  }

  #source(overlay: Link, route: FoundRoute): void {
    const { kernel } = this.#input;
    const local = overlay.vxlan?.local;
    if (local === undefined) {
      this.#found.ok("source", `${route.source ?? "?"}, chosen by the kernel`);
      return;
    }
    const holder = safely(() => kernel.lookUp(local));
    if (holder !== undefined && holder.type !== c.RTN_LOCAL) {
      this.#found.lost("source", `${local} is not an address of this node`, {
        problem: `${overlay.name} sends from ${local}, which this node does not have any more`,
        fix: this.#found.repair(`ip link set ${overlay.name} type vxlan local ADDRESS`),
      });
      return;
    }
    this.#found.ok("source", `${local}`);
  }

  #mtu({ name, mtu }: Link, below: number, family: Family, underlay: string): void {
    const room = below - OVERHEAD[family];
    this.#found.ok("mtu", `${name} ${mtu}, ${below} on ${underlay} less ${OVERHEAD[family]} is ${room}`);
    if (mtu > room)
      this.#found.note(
        `packets of more than ${room} bytes do not fit through ${underlay}: lower the MTU of ${name} and of pods`,
      );
  }

  #localPod(link: Link): string {
    const { target, kernel, lease } = this.#input;
    const neighbour = kernel.neighbour(link.index, target);
    if (neighbour?.mac !== undefined) this.#found.ok("neighbour", `${target} has the MAC ${neighbour.mac}`);
    else {
      this.#found.note(
        neighbour === undefined
          ? `nobody has asked for ${target} on ${link.name} lately: the first packet will`
          : `${target} does not answer on ${link.name}: no pod may have it now`,
      );
    }
    return `The packet goes to a pod of this node${lease?.node ? `, ${lease.node},` : ""} through ${link.name}.`;
  }

  #outside(route: FoundRoute, link: Link): string {
    const { target, subnetEnv, rules } = this.#input;
    const family = familyOf(target);
    if (route.source !== undefined) this.#found.ok("source", `${route.source}, from this node itself`);
    this.#found.ok("masquerade", masquerade(family, subnetEnv, rules, route.source));
    return `The packet leaves the pod network by ${link.name}${route.gateway ? `, to ${route.gateway}` : ""}.`;
  }
}

const GONE = { problem: "the interface went away while it was looked at", fix: "run it again" };

/** The routes that refuse, and what a lookup in IPv4 fails with because of them (fib_props, net/ipv4/fib_semantics.c). */
const REFUSING: Readonly<Record<number, number>> = {
  [c.RTN_BLACKHOLE]: constants.errno.EINVAL,
  [c.RTN_UNREACHABLE]: constants.errno.EHOSTUNREACH,
  [c.RTN_PROHIBIT]: constants.errno.EACCES,
};
const DROPPING: Readonly<Record<number, string>> = {
  [constants.errno.EINVAL]: "a blackhole route",
  [constants.errno.EHOSTUNREACH]: "an unreachable route",
  [constants.errno.EACCES]: "a prohibiting route",
};

function describe({ name, kind, mtu, up, vxlan }: Link): string {
  const vni = vxlan === undefined ? "" : ` ${vxlan.vni}, UDP port ${vxlan.port}`;
  return `${name}: ${kind || "interface"}${vni}, MTU ${mtu}, ${up ? "up" : "down"}`;
}

function describeRoute({ destination, gateway, onlink, protocol }: FoundRoute, device = "?"): string {
  const network = destination.length === 0 ? "default" : formatPrefix(destination);
  const via = gateway === undefined ? "" : ` via ${gateway}`;
  return `${network}${via} dev ${device}${onlink ? " onlink" : ""} proto ${PROTOCOLS[protocol] ?? protocol}`;
}

const PROTOCOLS: Readonly<Record<number, string>> = {
  [c.RTPROT_KERNEL]: "kernel",
  [c.RTPROT_BOOT]: "boot",
  4: "static",
};

function masquerade(
  family: Family,
  subnetEnv: SubnetEnv | undefined,
  rules: RulesInKernel | undefined,
  source: Address | undefined,
): string {
  if (subnetEnv === undefined) return "not known without subnet.env";
  if (!subnetEnv.ipMasq) return "not by the agent (FLANNEL_IPMASQ=false); the CNI plugin may";
  const places = Object.entries(rules ?? {}).filter(([, families]) => families.includes(family));
  const asked = `packets of pods leave as ${source ?? "this node"}`;
  if (rules === undefined) return `${asked}, if the rules are in place (only root can see them)`;
  if (places.length === 0)
    return "wanted (FLANNEL_IPMASQ=true), but there are no rules of the agent: answers find no way back";
  return `${asked}, by rules in ${places.map(([name]) => name).join(", ")}`;
}

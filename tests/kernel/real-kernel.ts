import { closeSync, openSync } from "node:fs";
import * as v from "valibot";
import type { VxlanOptions } from "../../src/config/network.ts";
import type { Desired } from "../../src/desired/desired.ts";
import { libc } from "../../src/ffi/libc.ts";
import { KernelReconciler, type ReconcileReport } from "../../src/kernel/reconciler.ts";
import { type Family, mapFamilies } from "../../src/net/family.ts";
import { formatPrefix } from "../../src/net/prefix.ts";
import { examplePublicIP, NETWORKS } from "../desired/examples.ts";
import { Netns } from "../support/netns.ts";
import { eventually } from "../support/wait.ts";
import { desiredFor } from "./worlds.ts";

const CLONE_NEWNET = 0x40000000;

/**
 * Runs an action with this process's main thread in a namespace until its promise is settled, so that sockets and /proc/sys
 * are those of the namespace, whenever they are opened.
 */
export async function inside<T>(ns: Netns, action: () => Promise<T>): Promise<T> {
  const home = openSync("/proc/thread-self/ns/net", "r");
  const there = openSync(ns.path, "r");
  const enter = (fd: number) => {
    if (libc().setns(fd, CLONE_NEWNET) !== 0) throw new Error(`the network namespace of ${ns.name} can't be entered`);
  };
  try {
    enter(there);
    try {
      return await action();
    } finally {
      enter(home);
    }
  } finally {
    closeSync(there);
    closeSync(home);
  }
}

/** A namespace with an external interface as an example node has it, and a reconciler in it that notes what it sees. */
export class KernelNode implements AsyncDisposable {
  readonly ns: Netns;
  /** why the reconciler called for attention, since the last `reconcile` */
  readonly drifts: string[] = [];
  interfaceChanges = 0;
  readonly reconciler: KernelReconciler;
  /** ifindex of eth0 */
  readonly underlay: number;
  #marks = 0;

  private constructor(ns: Netns, reconciler: (node: KernelNode) => KernelReconciler, underlay: number) {
    this.ns = ns;
    this.underlay = underlay;
    this.reconciler = reconciler(this);
  }

  static async create(families: readonly Family[] = [4]): Promise<KernelNode> {
    const ns = new Netns();
    await ns.exec(
      ["ip", "-batch", "-"],
      [
        "link add eth0 type veth peer name eth0p",
        "link set eth0p up",
        "link set eth0 up",
        `address add ${examplePublicIP(4, 0)}/15 dev eth0`,
        `address add ${examplePublicIP(6, 0)}/64 dev eth0 nodad`,
        `route add default via ${examplePublicIP(4, 99)}`,
      ].join("\n"),
    );
    const [eth0] = parse(Links, await ns.exec(["ip", "-j", "link", "show", "dev", "eth0"]));
    return KernelNode.in(ns, eth0?.ifindex ?? 0, families);
  }

  /** A further reconciler in a namespace, as a restarted agent has it. */
  static in(ns: Netns, underlay: number, families: readonly Family[] = [4]): Promise<KernelNode> {
    const networks = mapFamilies(NETWORKS, (network, family) => (families.includes(family) ? network : undefined));
    const make = (node: KernelNode) =>
      new KernelReconciler(networks, {
        onDrift: (cause) => void node.drifts.push(cause),
        onInterfaces: () => void node.interfaceChanges++,
      });
    return inside(ns, async () => new KernelNode(ns, make, underlay));
  }

  /** Brings the kernel to the desired state, as the agent's loop does it. */
  reconcile(desired: Desired, prune = true): Promise<ReconcileReport> {
    this.drifts.length = 0;
    return inside(this.ns, () => this.reconciler.reconcile(desired, { prune }));
  }

  /** Waits until the reconciler has been told of all that was changed up to now: a change of something else comes behind it. */
  async told(): Promise<void> {
    const alias = `mark ${++this.#marks}`;
    await this.ip("link", "set", "lo", "alias", alias);
    const isKnown = () => {
      const { known } = this.reconciler;
      // What is not known is read in full before anything else.
      return known === undefined || [...known.links.values()].some((link) => link.alias === alias);
    };
    await eventually(isKnown, { within: 20_000, what: "the last change is in the copy" });
  }

  ip(...args: string[]): Promise<string> {
    return this.ns.exec(["ip", ...args]);
  }

  /** Runs many commands of `ip` or `bridge`; those that fail do not stop the others with `-force`. */
  batch(tool: "ip" | "bridge", lines: readonly string[]): Promise<string> {
    return this.ns.exec([tool, "-batch", "-"], `${lines.join("\n")}\n`);
  }

  async link(name: string): Promise<v.InferOutput<typeof Link> | undefined> {
    const all = parse(Links, await this.ip("-j", "-d", "link", "show"));
    return all.find((link) => link.ifname === name);
  }

  /** What `ip` and `bridge` say of the desired devices: the same form as `summaryOf(desired)`. */
  async summary(desired: Desired): Promise<Summary> {
    const [links, addresses, routes4, routes6] = await Promise.all([
      this.ip("-j", "-d", "link", "show"),
      this.ip("-j", "address", "show"),
      this.ip("-j", "-4", "route", "show", "table", "main"),
      this.ip("-j", "-6", "route", "show", "table", "main"),
    ]);
    const names = desired.devices.map(({ name }) => name);
    const own = parse(Links, links).filter(({ ifname }) => names.includes(ifname));
    const entries = await Promise.all(own.map(({ ifname }) => this.#entries(ifname)));
    const numbers = (route: v.InferOutput<typeof Route>) => /^\d+$/.test(route.protocol);
    return {
      devices: own.map(describeLink).sort(),
      addresses: parse(Addresses, addresses)
        .filter(({ ifname }) => names.includes(ifname))
        .flatMap(({ ifname, addr_info }) =>
          addr_info.flatMap(({ local, prefixlen, scope }) =>
            scope === "global" ? [`${ifname} ${local}/${prefixlen}`] : [],
          ),
        )
        .sort(),
      routes: [...parse(Routes, routes4), ...parse(Routes, routes6)].filter(numbers).map(describeRoute).sort(),
      neighbours: entries.flatMap(({ neighbours }) => neighbours).sort(),
      forwarding: entries.flatMap(({ forwarding }) => forwarding).sort(),
    };
  }

  async #entries(name: string): Promise<Pick<Summary, "neighbours" | "forwarding">> {
    const [neighbours4, neighbours6, forwarding] = await Promise.all([
      this.ip("-j", "-4", "neighbour", "show", "dev", name, "nud", "permanent"),
      this.ip("-j", "-6", "neighbour", "show", "dev", name, "nud", "permanent"),
      this.ns.exec(["bridge", "-j", "fdb", "show", "dev", name]),
    ]);
    return {
      neighbours: [...parse(Neighbours, neighbours4), ...parse(Neighbours, neighbours6)].map(
        ({ dst, lladdr }) => `${name} ${dst} ${lladdr}`,
      ),
      forwarding: parse(Forwarding, forwarding)
        .filter(({ state }) => state === "permanent")
        .map(({ mac, dst, port }) => `${name} ${mac} ${dst}${port === undefined ? "" : ` port ${port}`}`),
    };
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.reconciler[Symbol.dispose]();
    this.ns[Symbol.dispose]();
  }
}

/** The desired state of a node with these peers on its real external interface. */
export function desiredOn(
  node: KernelNode,
  families: readonly Family[],
  peers: readonly number[],
  backend: Partial<VxlanOptions> = {},
) {
  return desiredFor(families, peers, { backend, external: { index: node.underlay } });
}

/** The devices' options, addresses and entries as lines, sorted. */
export interface Summary {
  readonly devices: readonly string[];
  readonly addresses: readonly string[];
  readonly routes: readonly string[];
  readonly neighbours: readonly string[];
  readonly forwarding: readonly string[];
}

/** What the kernel must have for a desired state, nothing beyond. */
export function summaryOf({ devices, routes }: Desired): Summary {
  const bits = (family: Family) => (family === 4 ? 32 : 128);
  return {
    devices: devices
      .map(({ name, vni, port = 8472, local, mac, mtu, gbp, learning }) =>
        [name, vni, port, local, mac, mtu, gbp ? "gbp" : "", learning ? "learning" : "", "up", "tartan"].join(" "),
      )
      .sort(),
    addresses: devices.map(({ name, address, family }) => `${name} ${address}/${bits(family)}`).sort(),
    routes: [...routes.values()]
      .map(({ destination, gateway, device, onlink, protocol }) =>
        [formatPrefix(destination), gateway, device, onlink ? "onlink" : "", protocol].join(" "),
      )
      .sort(),
    neighbours: devices
      .flatMap(({ name, neighbours }) => [...neighbours].map(([address, mac]) => `${name} ${address} ${mac}`))
      .sort(),
    forwarding: devices
      .flatMap(({ name, forwarding }) => [...forwarding].map(([mac, destination]) => `${name} ${mac} ${destination}`))
      .sort(),
  };
}

function parse<T>(schema: v.GenericSchema<unknown, T[]>, text: string): T[] {
  return v.parse(schema, JSON.parse(text || "[]"));
}

const Link = v.object({
  ifindex: v.number(),
  ifname: v.string(),
  flags: v.array(v.string()),
  mtu: v.number(),
  address: v.optional(v.string()),
  ifalias: v.optional(v.string()),
  linkinfo: v.optional(
    v.object({
      info_kind: v.optional(v.string()),
      info_data: v.optional(
        v.object({
          id: v.optional(v.number()),
          port: v.optional(v.number()),
          local: v.optional(v.string()),
          local6: v.optional(v.string()),
          link: v.optional(v.string()),
          learning: v.optional(v.boolean()),
          gbp: v.optional(v.unknown()),
        }),
      ),
    }),
  ),
});
// Ports of bridges and such come with objects that are empty when -d is given with a filter.
const Links = v.pipe(
  v.array(v.union([Link, v.strictObject({})])),
  v.transform((list) => list.filter((link) => "ifindex" in link)),
);

const Addresses = v.array(
  v.object({
    ifname: v.string(),
    addr_info: v.array(v.object({ local: v.string(), prefixlen: v.number(), scope: v.string() })),
  }),
);

const Route = v.object({
  dst: v.string(),
  gateway: v.optional(v.string()),
  dev: v.optional(v.string()),
  protocol: v.optional(v.string(), "boot"),
  flags: v.array(v.string()),
});
const Routes = v.array(Route);

const Neighbours = v.array(v.object({ dst: v.string(), lladdr: v.string() }));
const Forwarding = v.array(
  v.object({
    mac: v.string(),
    dst: v.optional(v.string()),
    port: v.optional(v.number()),
    state: v.optional(v.string()),
  }),
);

function describeLink({ ifname, linkinfo, address, mtu, flags, ifalias }: v.InferOutput<typeof Link>): string {
  const { id, port, local, local6, learning, gbp } = linkinfo?.info_data ?? {};
  return [
    ifname,
    id,
    port,
    local ?? local6,
    address,
    mtu,
    gbp === undefined || gbp === false ? "" : "gbp",
    learning ? "learning" : "",
    flags.includes("UP") ? "up" : "down",
    ifalias,
  ].join(" ");
}

function describeRoute({ dst, gateway, dev, protocol, flags }: v.InferOutput<typeof Route>): string {
  return [dst, gateway, dev, flags.includes("onlink") ? "onlink" : "", protocol].join(" ");
}

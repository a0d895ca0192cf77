import { existsSync } from "node:fs";
import { type Family, familiesOf } from "../../../net/family.ts";
import { type Check, error, type Finding, NotApplicable, ok, orOk, skipped, warning } from "../check.ts";
import type { Context } from "../context.ts";
import { sysctl } from "../files.ts";
import { type Presence, presenceOf } from "../kernel-features.ts";
import { NF_TABLES } from "../packet-filters.ts";

/** What the kernel has and how it is set. */

const VXLAN = { module: "vxlan", option: "VXLAN" };
const BR_NETFILTER = { module: "br_netfilter", option: "BRIDGE_NETFILTER" };
const IP_TABLES = { module: "ip_tables", option: "IP_NF_IPTABLES" };

const PACKAGES =
  "install the package with the rest of this kernel's modules (such as linux-modules-extra), or another kernel";

/** @param isUsed devices of that kind are there. Pure. */
export function judgeVxlan(presence: Presence, isUsed: boolean, release: string): Finding {
  if (isUsed || presence === "here") return ok("VXLAN devices are built in, or their module is loaded");
  if (presence === "loadable") return ok("VXLAN devices are a module, which is loaded when the first one is made");
  if (presence === "missing") return error(`kernel ${release} has no VXLAN devices`, PACKAGES);
  return skipped("whether the kernel has VXLAN devices can't be told here: run it on the host, or give --host-root");
}

const vxlan: Check = {
  group: "Kernel",
  name: "vxlan",
  find: (context) => {
    const features = context.features();
    const isUsed = [...context.kernel().actual.links.values()].some(({ kind }) => kind === "vxlan");
    return [judgeVxlan(presenceOf(VXLAN, features), isUsed, features.release)];
  },
};

export interface FilterFacts {
  readonly mode: "iptables" | "nftables";
  readonly nfTables: Presence;
  readonly ipTables: Presence;
  readonly release: string;
}

/** Whether the kernel has a packet filter for the rules. Pure. */
export function judgeFilters({ mode, nfTables, ipTables, release }: FilterFacts): Finding {
  const has = (presence: Presence) => presence === "here" || presence === "loadable";
  if (mode === "nftables") {
    if (has(nfTables)) return ok("nf_tables is there for the rules");
    if (nfTables === "missing")
      return error(
        `EnableNFTables is true, but kernel ${release} has no nf_tables`,
        `set EnableNFTables to false, or ${PACKAGES}`,
      );
  } else {
    const names = [...(has(nfTables) ? ["nf_tables"] : []), ...(has(ipTables) ? ["ip_tables (legacy)"] : [])];
    if (names.length > 0) return ok(`${names.join(" and ")} ${names.length > 1 ? "are" : "is"} there for iptables`);
    if (nfTables === "missing" && ipTables === "missing")
      return error(`kernel ${release} has neither nf_tables nor ip_tables, so no rules can be made`, PACKAGES);
  }
  return skipped("which packet filters the kernel has can't be told here: run it on the host, or give --host-root");
}

/** Whether the agent makes rules, and in which way. @throws NotApplicable */
async function rulesMode(context: Context): Promise<"iptables" | "nftables"> {
  const { ipMasq, forwardRules } = context.settings.flags;
  if (!ipMasq && !forwardRules) throw new NotApplicable("neither --ip-masq nor --iptables-forward-rules is on");
  return (await context.network()).nftables ? "nftables" : "iptables";
}

const filters: Check = {
  group: "Kernel",
  name: "packet-filter",
  find: async (context) => {
    const mode = await rulesMode(context);
    const features = context.features();
    const isLegacyUsed = existsSync("/proc/net/ip_tables_names");
    const ipTables = isLegacyUsed ? "here" : presenceOf(IP_TABLES, features);
    return [judgeFilters({ mode, nfTables: presenceOf(NF_TABLES, features), ipTables, release: features.release })];
  },
};

/** By family the parameter of br_netfilter: without it bridged packets pass iptables by. */
const BRIDGE_CALLS: Readonly<Record<Family, string>> = {
  4: "net/bridge/bridge-nf-call-iptables",
  6: "net/bridge/bridge-nf-call-ip6tables",
};

const dotted = (name: string): string => name.replaceAll("/", ".");
const keep = (setting: string): string => `sysctl -w ${setting}\necho ${setting} >> /etc/sysctl.d/90-tartan.conf`;

/** @param value of the family's parameter; undefined where there is none. Pure. */
export function judgeBridge(family: Family, value: string | undefined, presence: Presence): Finding {
  const name = dotted(BRIDGE_CALLS[family]);
  if (value === undefined) {
    const fix =
      presence === "missing"
        ? `set EnableNFTables to true in the network's configuration, or ${PACKAGES}`
        : "modprobe br_netfilter\necho br_netfilter > /etc/modules-load.d/tartan.conf";
    return error("br_netfilter is not loaded, so packets between pods of this node pass the iptables rules by", fix);
  }
  if (value === "0")
    return warning(`${name} is 0, so packets between pods of this node pass the iptables rules by`, keep(`${name}=1`));
  return ok(`br_netfilter is there, ${name} is ${value}`);
}

const bridge: Check = {
  group: "Kernel",
  name: "br-netfilter",
  find: async (context) => {
    if ((await rulesMode(context)) === "nftables")
      throw new NotApplicable("the rules are nftables', which need no br_netfilter");
    const presence = presenceOf(BR_NETFILTER, context.features());
    const families = familiesOf((await context.network()).ranges);
    const findings = families.map((family) => judgeBridge(family, sysctl(BRIDGE_CALLS[family]), presence));
    // Without the module both say the same.
    return findings.filter(({ message }, at) => findings.findIndex((other) => other.message === message) === at);
  },
};

const FORWARDING: Readonly<Record<Family, string>> = {
  4: "net/ipv4/ip_forward",
  6: "net/ipv6/conf/all/forwarding",
};

/** @param value of the family's parameter; undefined where the kernel has none. Pure. */
export function judgeForwarding(family: Family, value: string | undefined): Finding {
  const name = dotted(FORWARDING[family]);
  if (value === undefined)
    return error(
      `the kernel has no ${name}: IPv${family} is not there`,
      `boot with IPv${family} (without ipv6.disable=1)`,
    );
  if (value === "0")
    return error(`${name} is 0, so this node passes nothing on between pods and others`, keep(`${name}=1`));
  return ok(`${name} is ${value}`);
}

const forwarding = (family: Family, name: string): Check => ({
  group: "Kernel",
  name,
  find: async (context) => {
    // Before there is a configuration, IPv4 is what is usual.
    const ranges = await context.network().then(
      (network) => familiesOf(network.ranges),
      () => [4 as const],
    );
    if (!ranges.some((one) => one === family)) throw new NotApplicable(`the pod network has no IPv${family}`);
    return [judgeForwarding(family, sysctl(FORWARDING[family]))];
  },
});

export interface ReversePathFacts {
  /** by interface: the larger of its own value and that of `all`, which is what counts */
  readonly interfaces: readonly { readonly name: string; readonly value: number }[];
  /** names of the interfaces by which this host reaches others over IPv4 */
  readonly uplinks: readonly string[];
}

const STRICT = 1;

/** Strict reverse path filtering loses packets that come in by another way than answers go. Pure. */
export function judgeReversePath({ interfaces, uplinks }: ReversePathFacts): readonly Finding[] {
  const strict = interfaces.filter(({ value }) => value === STRICT);
  const values = interfaces.map(({ name, value }) => `${name} ${value}`).join(", ");
  if (uplinks.length < 2)
    return [ok(`${values || "no interface is strict"}; with one way out strict filtering loses nothing`)];
  const findings = strict.map(({ name }) =>
    warning(
      `rp_filter is strict on ${name}, and this node has several interfaces (${uplinks.join(", ")}): packets whose answers ` +
        "would go another way are dropped",
      keep(`net.ipv4.conf.${name.replaceAll(".", "/")}.rp_filter=2`),
    ),
  );
  return orOk(findings, `no interface of the pod network is strict (${values})`);
}

const reversePath: Check = {
  group: "Kernel",
  name: "rp-filter",
  find: async (context) => {
    const network = await context.network();
    if (network.ranges[4] === undefined) throw new NotApplicable("the pod network has no IPv4");
    const external = await context.external();
    const { inventory, actual } = context.kernel();
    const names = [external.name, `flannel.${network.backend.vni}`];
    const all = Number(sysctl("net/ipv4/conf/all/rp_filter") ?? 0);
    const interfaces = names.flatMap((name) => {
      const value = sysctl(`net/ipv4/conf/${name}/rp_filter`);
      return value === undefined ? [] : [{ name, value: Math.max(all, Number(value)) }];
    });
    const isPods = (name: string) =>
      [...actual.links.values()].some((link) => link.name === name && link.kind === "bridge");
    const uplinks = inventory.interfaces
      .filter(
        ({ name, addresses }) =>
          !isPods(name) && addresses.some(({ family, address }) => family === 4 && !address.startsWith("127.")),
      )
      .map(({ name }) => name);
    return judgeReversePath({ interfaces, uplinks });
  },
};

/** Of the room for connections, beyond which a node is about to refuse new ones. */
const FULL_WARNING = 0.75;
const FULL_ERROR = 0.95;

/** Room in the table of tracked connections. Pure. */
export function judgeConntrack(count: number, max: number): Finding {
  const text = `${count} of ${max} tracked connections are in use`;
  if (max === 0) return ok(`${count} tracked connections, without a limit`);
  const fix = keep(`net.netfilter.nf_conntrack_max=${max * 2}`);
  if (count >= max * FULL_ERROR) return error(`${text}: new ones are dropped`, fix);
  if (count >= max * FULL_WARNING) return warning(text, fix);
  return ok(text);
}

const conntrack: Check = {
  group: "Kernel",
  name: "conntrack",
  find: () => {
    const [count, max] = ["count", "max"].map((what) => sysctl(`net/netfilter/nf_conntrack_${what}`));
    if (count === undefined || max === undefined) throw new NotApplicable("connections are not tracked here");
    return [judgeConntrack(Number(count), Number(max))];
  },
};

export const KERNEL_CHECKS = [
  vxlan,
  filters,
  bridge,
  forwarding(4, "ip-forward"),
  forwarding(6, "ipv6-forwarding"),
  reversePath,
  conntrack,
];

import { existsSync } from "node:fs";
import { type Family, familiesOf } from "../../../net/family.ts";
import { type Check, error, type Finding, NotApplicable, ok, skipped, warning } from "../check.ts";
import type { Context } from "../context.ts";
import { type Presence, presenceOf } from "../kernel-features.ts";
import { NF_TABLES } from "../packet-filters.ts";
import { dotted, keep, sysctl } from "../sysctl.ts";

/** What the kernel has. */

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

export const FEATURE_CHECKS = [vxlan, filters, bridge];

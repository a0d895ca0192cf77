import { describeError } from "../../../base/errors.ts";
import type { NftChain, NftTable } from "../../../ffi/nfnetlink.ts";
import { type Family, familiesOf } from "../../../net/family.ts";
import { formatPrefix } from "../../../net/prefix.ts";
import { blockers } from "../../../rules/blockers.ts";
import { thisHost } from "../../../rules/host.ts";
import { findIptables, type IptablesKind, usageOf } from "../../../rules/iptables-programs.ts";
import { type Check, error, type Finding, NotApplicable, ok, orOk, warning } from "../check.ts";
import { type Context, DEFAULT_PORT } from "../context.ts";
import { readIfThere } from "../files.ts";

/** What is in the packet filters beside tartan's rules, and what makes those. */

async function wantsRules(context: Context): Promise<boolean> {
  const { ipMasq, forwardRules } = context.settings.flags;
  return ipMasq || forwardRules;
}

const programs: Check = {
  group: "Packet filter",
  name: "iptables-programs",
  find: async (context) => {
    if (!(await wantsRules(context))) throw new NotApplicable("neither --ip-masq nor --iptables-forward-rules is on");
    if ((await context.network()).nftables) throw new NotApplicable("the rules are nftables', which need no program");
    if (context.agent?.rules.backend) return [ok(`the agent's rules are in ${context.agent.rules.backend}`)];
    if (context.isApart && context.isAgentHere) throw new NotApplicable("the agent that runs here says what it found");
    try {
      const found = await findIptables(thisHost, context.signal);
      return [ok(found.map(({ kind, version }) => `iptables ${version} (${kind})`).join(", "))];
    } catch (cause) {
      return [error(describeError(cause), "apt install iptables, or set EnableNFTables to true")];
    }
  },
};

const nftablesLibrary: Check = {
  group: "Packet filter",
  name: "libnftables",
  find: async (context) => {
    if (!(await context.network()).nftables) throw new NotApplicable("the rules are not nftables'");
    try {
      using _nftables = thisHost.openNftables();
      return [ok("libnftables is there for the rules")];
    } catch (cause) {
      return [error(describeError(cause), "apt install libnftables1, or set EnableNFTables to false")];
    }
  },
};

/** Base chains of others that drop what is forwarded. @param texts of rules/blockers. Pure. */
export function judgeBlockers(texts: readonly string[]): readonly Finding[] {
  return orOk(
    texts.map((text) => {
      const [what = "", advice = "set its policy to accept"] = text.split("; ");
      return warning(what, advice);
    }),
    "no base chain drops what is forwarded by its policy, or tartan's rules come before that",
  );
}

const dropPolicies: Check = {
  group: "Packet filter",
  name: "drop-policies",
  find: async (context) => {
    const network = await context.network();
    const families = familiesOf(network.ranges);
    const filters = context.packetFilters();
    const { chains } = filters.nft();
    const legacyFamilies = filters.legacyFamilies();
    const legacy = legacyFamilies.length > 0 ? filters.legacy.droppingFamilies() : [];
    return judgeBlockers(
      blockers(chains, legacy, families, backendName(context, network.nftables, legacyFamilies, chains)),
    );
  },
};

/** What the rules are written by, or would be as far as it can be told without starting a program. */
function backendName(
  context: Context,
  nftables: boolean,
  legacy: readonly Family[],
  chains: readonly NftChain[],
): string {
  const told = context.agent?.rules.backend;
  if (told) return told;
  if (nftables) return "nftables";
  return legacy.length > 0 && !chains.some(isIptables) ? "iptables-legacy" : "iptables-nft";
}

const IPTABLES_TABLES = ["filter", "nat", "mangle", "raw", "security"];

function isIptables({ family, table }: NftChain): boolean {
  return (family === "ip" || family === "ip6") && IPTABLES_TABLES.includes(table);
}

/** @param rules of others than tartan, by kind. Pure. */
export function judgeKinds(rules: Readonly<Record<IptablesKind, number>>): Finding {
  if (rules.legacy > 0 && rules.nft > 0) {
    return warning(
      `iptables-legacy has ${rules.legacy} rules and iptables-nft ${rules.nft}: packets go through both, whatever either accepts`,
      "find who uses which (iptables-legacy-save, iptables-nft-save), and have all use one:\nupdate-alternatives --config iptables",
    );
  }
  const used = (["nft", "legacy"] as const).filter((kind) => rules[kind] > 0);
  return ok(
    used.length === 0 ? "nobody else has iptables rules" : `all iptables rules are in iptables-${used.join("")}`,
  );
}

const kinds: Check = {
  group: "Packet filter",
  name: "iptables-kinds",
  find: async (context) => {
    const filters = context.packetFilters();
    const { chains } = filters.nft();
    const hasLegacy = filters.legacyFamilies().length > 0;
    // As long as one kind has nothing at all no program needs to count.
    if (!hasLegacy || !chains.some(isIptables)) return [ok("not both iptables-legacy and iptables-nft are in use")];
    const found = await findIptables(thisHost, context.signal).catch(() => []);
    if (found.length < 2)
      throw new NotApplicable("both kinds are in use, but without both programs their rules can't be counted");
    return [judgeKinds((await usageOf(thisHost, found, chains, filters.legacy, context.signal)).rules)];
  },
};

export interface FirewallFacts {
  readonly tables: readonly NftTable[];
  readonly chains: readonly NftChain[];
  /** legacy iptables has a chain of ufw's */
  readonly legacyUfw: boolean;
  /** /etc/ufw/ufw.conf; undefined: none, or not to be seen */
  readonly ufwConf: string | undefined;
  /** of the encapsulated packets */
  readonly port: number;
  readonly networks: readonly string[];
}

/** What manages the host's firewall, and would block pods unless it is told of them. Pure. */
export function judgeFirewalls({
  tables,
  chains,
  legacyUfw,
  ufwConf,
  port,
  networks,
}: FirewallFacts): readonly Finding[] {
  const findings: Finding[] = [];
  if (tables.some(({ name }) => name === "firewalld")) {
    const sources = networks.map((network) => `firewall-cmd --permanent --zone=trusted --add-source=${network}`);
    findings.push(
      warning(
        `firewalld is active: it may drop encapsulated packets (UDP port ${port}) and those of pods`,
        [`firewall-cmd --permanent --add-port=${port}/udp`, ...sources, "firewall-cmd --reload"].join("\n"),
      ),
    );
  }
  const hasChains = legacyUfw || chains.some(({ name }) => /^ufw6?-/.test(name));
  if (hasChains && !/^ENABLED=no$/m.test(ufwConf ?? "")) {
    const routes = networks.flatMap((network) => [`ufw route allow from ${network}`, `ufw route allow to ${network}`]);
    findings.push(
      warning(
        `ufw is active: it may drop encapsulated packets (UDP port ${port}) and those of pods`,
        [`ufw allow ${port}/udp`, ...routes].join("\n"),
      ),
    );
  }
  return orOk(findings, "neither firewalld nor ufw is active");
}

const firewalls: Check = {
  group: "Packet filter",
  name: "firewalls",
  find: async (context) => {
    const network = await context.network().catch(() => undefined);
    const filters = context.packetFilters();
    const legacyUfw = filters
      .legacyFamilies()
      .some((family) => filters.legacy.has(family, family === 4 ? "ufw-before-forward" : "ufw6-before-forward"));
    const networks = Object.values(network?.ranges ?? {}).map((range) => formatPrefix(range.network));
    const ufwConf = readIfThere(context.hostPath("/etc/ufw/ufw.conf"));
    return judgeFirewalls({
      ...filters.nft(),
      legacyUfw,
      ufwConf,
      port: network?.backend.port ?? DEFAULT_PORT,
      networks,
    });
  },
};

export const FILTER_CHECKS = [programs, nftablesLibrary, dropPolicies, kinds, firewalls];

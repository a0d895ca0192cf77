import { describeError } from "../../../base/errors.ts";
import type { NftChain } from "../../../ffi/nfnetlink.ts";
import { type Family, familiesOf } from "../../../net/family.ts";
import { blockers } from "../../../rules/blockers.ts";
import { thisHost } from "../../../rules/host.ts";
import { findIptables, type IptablesKind, usageOf } from "../../../rules/iptables-programs.ts";
import { type Check, error, type Finding, NotApplicable, ok, orOk, warning } from "../check.ts";
import type { Context } from "../context.ts";

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

export const FILTER_CHECKS = [programs, nftablesLibrary, dropPolicies, kinds];

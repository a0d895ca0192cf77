import { LINUX_VXLAN_PORT } from "../../../config/network.ts";
import type { NftChain, NftTable } from "../../../ffi/nfnetlink.ts";
import { formatPrefix } from "../../../net/prefix.ts";
import { type Check, type Finding, orOk, warning } from "../check.ts";
import { readIfThere } from "../files.ts";

/** Programs that manage the host's firewall. */

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
  // Its nftables back end has a table of its own, its iptables one these chains.
  const isFirewalldThere =
    tables.some(({ name }) => name === "firewalld") || chains.some(({ name }) => name === "FORWARD_direct");
  if (isFirewalldThere) {
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
      port: network?.backend.port ?? LINUX_VXLAN_PORT,
      networks,
    });
  },
};

export const FIREWALL_CHECKS = [firewalls];

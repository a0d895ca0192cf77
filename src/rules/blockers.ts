import type { NftChain } from "../ffi/nfnetlink.ts";
import type { Family } from "../net/family.ts";

/** NF_INET_FORWARD (linux/netfilter.h) */
const HOOK_FORWARD = 2;

/**
 * The base chains that drop forwarded packets by their policy and that an accept of ours can't overrule, as it stands in
 * another base chain. Pure.
 * @param families of the pod network
 * @param backend the name of what our rules are written by
 * @param legacyDrops the families whose FORWARD chain of legacy iptables has that policy
 * @returns one sentence for each, which names the chain
 */
export function blockers(
  chains: readonly NftChain[],
  legacyDrops: readonly Family[],
  families: readonly Family[],
  backend: string,
): string[] {
  const protocols = ["inet", ...families.map(protocolOf)];
  // Our jump stands in these chains themselves.
  const ours = (chain: NftChain) =>
    backend === "iptables-nft" && chain.family !== "inet" && chain.table === "filter" && chain.name === "FORWARD";
  const nft = chains
    .filter((chain) => chain.hook === HOOK_FORWARD && chain.policy === "drop")
    .filter((chain) => protocols.includes(chain.family) && !ours(chain))
    .map(({ family, table, name }) => `chain ${name} of the nftables table ${family} ${table}`);
  const legacy = backend === "iptables-legacy" ? [] : legacyDrops.filter((family) => families.includes(family));
  const names = [
    ...nft,
    ...legacy.map((family) => `chain FORWARD of legacy ${family === 4 ? "iptables" : "ip6tables"}`),
  ];
  return names.map(
    (name) =>
      `${name} drops by its policy what it does not accept itself, and no accept elsewhere overrules that: traffic of pods ` +
      "may be lost on this node; accept the pod network in that chain, or set its policy to accept",
  );
}

function protocolOf(family: Family): string {
  return family === 4 ? "ip" : "ip6";
}

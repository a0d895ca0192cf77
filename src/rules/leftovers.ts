import { describeError } from "../base/errors.ts";
import type { Nfnetlink } from "../ffi/nfnetlink.ts";
import { FAMILIES, type Family, type PerFamily } from "../net/family.ts";
import type { Backend } from "./backend.ts";
import { deviates } from "./compare.ts";
import { type FamilyRules, NO_RULES } from "./desired.ts";
import { PLACES } from "./iptables-text.ts";
import type { LegacyState } from "./legacy-state.ts";
import { TABLES } from "./nftables-text.ts";

/** By the name of a back end, the families that have rules of ours in it. */
export type RulesInKernel = Readonly<Record<BackendName, readonly Family[]>>;

export type BackendName = "nftables" | "iptables-nft" | "iptables-legacy";

const CHAINS: readonly string[] = Object.values(PLACES).map(({ chain }) => chain);

/** Where rules of ours, or of a flanneld, are. Costs no fork. */
export function rulesInKernel(nfnetlink: Nfnetlink, legacy: LegacyState): RulesInKernel {
  const tables = nfnetlink.tables();
  const chains = tables.length > 0 ? nfnetlink.chains().filter(({ name }) => CHAINS.includes(name)) : [];
  const protocol = (family: Family) => TABLES[family].family;
  const places = Object.values(PLACES).map(({ table }): string => table);
  return {
    nftables: FAMILIES.filter((family) =>
      tables.some((table) => table.family === protocol(family) && table.name === TABLES[family].name),
    ),
    "iptables-nft": FAMILIES.filter((family) =>
      chains.some((chain) => chain.family === protocol(family) && places.includes(chain.table)),
    ),
    "iptables-legacy": FAMILIES.filter((family) => CHAINS.some((chain) => legacy.has(family, chain))),
  };
}

/**
 * Removes the rules that are somewhere else than they are wanted: of another mode, another kind of iptables, or of a
 * family that the network does not have.
 * @param open opens the back end of that name
 * @returns what was removed from where, and what could not be
 */
export async function removeLeftovers(
  found: RulesInKernel,
  kept: { readonly name: string | undefined; readonly families: readonly Family[] },
  open: (name: BackendName) => { backend: Backend; close(): void },
  signal: AbortSignal,
): Promise<{ removed: string[]; errors: Error[] }> {
  const removed: string[] = [];
  const errors: Error[] = [];
  for (const [name, families] of Object.entries(found) as [BackendName, readonly Family[]][]) {
    const unwanted = families.filter((family) => name !== kept.name || !kept.families.includes(family));
    if (unwanted.length === 0) continue;
    try {
      const { backend, close } = open(name);
      try {
        const nothing: PerFamily<FamilyRules> = Object.fromEntries(unwanted.map((family) => [family, NO_RULES]));
        const reports = await backend.ensure(nothing, signal);
        for (const family of unwanted) {
          const { mended = {}, error } = reports[family] ?? {};
          if (error !== undefined) errors.push(leftover(name, family, error));
          else if (deviates(mended)) removed.push(`IPv${family} rules of ${name}`);
        }
      } finally {
        close();
      }
    } catch (error) {
      errors.push(...unwanted.map((family) => leftover(name, family, error)));
    }
  }
  return { removed, errors };
}

function leftover(name: BackendName, family: Family, error: unknown): Error {
  const said = describeError(error);
  const save = `${name.replace("iptables", family === 4 ? "iptables" : "ip6tables")}-save`;
  // So iptables-restore says that another chain goes to the one that is to be removed; or nothing but the line's number.
  const advice = /CHAIN_DEL failed|line \d+ failed/.test(said)
    ? `; should another chain go to one of these, remove that rule first: ${save} | grep FLANNEL-`
    : "";
  return new Error(`old IPv${family} rules of ${name} can't be removed: ${said}${advice}`);
}

import { FAMILIES, type Family, type PerFamily } from "../net/family.ts";
import { compareChain, type Deviations, deviates, sumDeviations } from "./compare.ts";
import { type FamilyRules, PARTS } from "./desired.ts";
import { type BaseChain, CHAINS, chainText, type NftablesActual, ruleText, TABLES } from "./nftables-text.ts";

export interface NftablesChange {
  /** for nft; one transaction */
  readonly commands: string;
  readonly deviations: PerFamily<Deviations>;
}

export interface NftablesOptions {
  /** whether tables and chains can have comments */
  readonly comments: boolean;
}

/**
 * What makes the rules of all families those wanted, or undefined if they are. The tables are ours as a whole. Pure.
 * @param actual a family is missing if its table is
 */
export function diffNftables(
  wanted: PerFamily<FamilyRules>,
  actual: PerFamily<NftablesActual>,
  options: NftablesOptions,
): NftablesChange | undefined {
  const deviations: PerFamily<Deviations> = {};
  const commands: string[] = [];
  for (const family of FAMILIES) {
    const rules = wanted[family];
    if (rules === undefined) continue;
    const change = diffFamily(family, rules, actual[family], options);
    if (!deviates(change.deviations)) continue;
    deviations[family] = change.deviations;
    commands.push(...change.commands);
  }
  return commands.length === 0 ? undefined : { commands: `${commands.join("\n")}\n`, deviations };
}

interface FamilyChange {
  readonly commands: readonly string[];
  readonly deviations: Deviations;
}

function diffFamily(
  family: Family,
  wanted: FamilyRules,
  actual: NftablesActual | undefined,
  options: NftablesOptions,
): FamilyChange {
  const table = `${TABLES[family].family} ${TABLES[family].name}`;
  const parts = PARTS.filter((part) => wanted[part].length > 0);
  if (parts.length === 0) {
    return actual === undefined
      ? { commands: [], deviations: {} }
      : { commands: [`delete table ${table}`], deviations: { "chain foreign": Math.max(1, actual.chains.size) } };
  }
  // A table with flags (`dormant` turns it off) is made anew.
  const kept = actual?.flags ? undefined : actual;
  const changes = parts.map((part) => {
    const rules = wanted[part].map((rule) => ruleText(rule, family));
    return diffChain(table, CHAINS[part], rules, kept, options);
  });
  const names = parts.map((part) => CHAINS[part].name);
  const foreign = [...(kept?.chains.keys() ?? [])].filter((name) => !names.includes(name));
  const objects = kept?.objects ?? [];
  const deviations = sumDeviations([
    ...changes.map((change) => change.deviations),
    foreign.length > 0 ? { "chain foreign": foreign.length } : {},
    objects.length > 0 ? { "object foreign": objects.length } : {},
  ]);
  const comment = options.comments ? ` { comment "rules for ${TABLES[family].name}" ; }` : "";
  return {
    commands: [
      ...(actual?.flags ? [`delete table ${table}`] : []),
      ...(kept === undefined ? [`add table ${table}${comment}`] : []),
      ...changes.flatMap((change) => change.commands),
      // All are emptied first, as a rule of one may name another, or a set; and a map may lead to a chain.
      ...foreign.map((name) => `flush chain ${table} ${name}`),
      ...objects.map(({ kind, name }) => `delete ${kind} ${table} ${name}`),
      ...foreign.map((name) => `delete chain ${table} ${name}`),
    ],
    deviations,
  };
}

function diffChain(
  table: string,
  chain: BaseChain,
  rules: readonly string[],
  actual: NftablesActual | undefined,
  { comments }: NftablesOptions,
): FamilyChange {
  const known = actual?.chains.get(chain.name);
  const right = known?.properties === chainText(chain);
  const found = compareChain(rules, known?.rules);
  const deviations = known === undefined || right ? found : { ...found, "chain altered": 1 };
  if (!deviates(deviations)) return { commands: [], deviations };
  const at = `${table} ${chain.name}`;
  const { type, hook, priority } = chain;
  const comment = comments ? ` comment "${chain.comment}" ;` : "";
  const properties = `{ type ${type} hook ${hook} priority ${priority} ; policy accept ;${comment} }`;
  return {
    commands: [
      ...(known === undefined ? [] : [`flush chain ${at}`]),
      // Where a base chain is hooked can't be changed.
      ...(known === undefined || right ? [] : [`delete chain ${at}`]),
      ...(known === undefined || !right ? [`add chain ${at} ${properties}`] : []),
      ...rules.map((rule) => `add rule ${at} ${rule}`),
    ],
    deviations,
  };
}

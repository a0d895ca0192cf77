import { compareChain, compareJumps, type Deviations, deviates, sumDeviations } from "./compare.ts";
import type { FamilyRules, Part } from "./desired.ts";
import { PARTS } from "./desired.ts";
import { canonicalSpec, type IptablesActual, type IptablesPlace, jumpSpec, PLACES, ruleSpec } from "./iptables-text.ts";

export interface IptablesChange {
  /** for `iptables-restore --noflush`; each table that it names is one transaction */
  readonly input: string;
  /** tables that get rules: what is refused for one of them must not change the other */
  readonly kept: number;
  readonly deviations: Deviations;
}

/**
 * What makes one family's rules those wanted, or undefined if they are. Chains are ours as a whole and get their rules
 * anew; of the built-in chains only jumps to ours are touched. Pure.
 */
export function diffIptables(
  wanted: FamilyRules,
  actual: Readonly<Record<Part, IptablesActual>>,
): IptablesChange | undefined {
  const changes = PARTS.flatMap((part) => {
    const place = PLACES[part];
    const rules = wanted[part].map((rule) => ruleSpec(rule, place));
    const change = rules.length > 0 ? keepPart(place, rules, actual[part]) : removePart(place, actual[part]);
    return deviates(change.deviations) ? [{ ...change, table: place.table }] : [];
  });
  if (changes.length === 0) return undefined;
  const section = (table: string, lines: readonly string[]) =>
    lines.length === 0 ? "" : [`*${table}`, ...lines, "COMMIT", ""].join("\n");
  return {
    // A chain goes when it is empty and nothing of ours leads to it; should another's rule do so, only that is refused.
    input: [
      ...changes.map(({ table, lines }) => section(table, lines)),
      ...changes.map(({ table, last = [] }) => section(table, last)),
    ].join(""),
    kept: changes.filter(({ last }) => last === undefined).length,
    deviations: sumDeviations(changes.map(({ deviations }) => deviations)),
  };
}

interface PartChange {
  readonly lines: readonly string[];
  /** of what is removed, after all else */
  readonly last?: readonly string[];
  readonly deviations: Deviations;
}

function keepPart(place: IptablesPlace, rules: readonly string[], actual: IptablesActual): PartChange {
  const jump = jumpSpec(place);
  const chain = compareChain(rules.map(canonicalSpec), actual.rules?.map(canonicalSpec));
  const jumps = compareJumps(canonicalSpec(jump), actual.jumps.map(canonicalSpec));
  const isRight = actual.jumps.map((spec) => canonicalSpec(spec) === canonicalSpec(jump));
  const right = actual.jumps.filter((_, at) => isRight[at]);
  const wrong = actual.jumps.filter((_, at) => !isRight[at]);
  // By its text, as whoever writes meanwhile may move the numbers, and another's rule would go. That takes the first of
  // several away, which is the one that acted: the last may stand behind a rule that rejects. So all go, and one comes
  // back at the first one's place.
  const surplus = right.length > 1 ? actual.jumps : wrong;
  // One that was altered stood where ours has to be.
  const first = Math.max(0, isRight.indexOf(true));
  const number = (actual.numbers?.[first] ?? 1) - first;
  return {
    lines: [
      // To name a chain makes it, or empties it.
      ...(deviates(chain) ? [declare(place), ...rules.map((rule) => `-A ${place.chain} ${rule}`)] : []),
      ...surplus.map((spec) => `-D ${place.hook} ${spec}`),
      ...(actual.jumps.length === 0 ? [`-A ${place.hook} ${jump}`] : []),
      ...(surplus.length > 0 && right.length !== 1 ? [`-I ${place.hook} ${number} ${jump}`] : []),
    ],
    deviations: sumDeviations([chain, jumps]),
  };
}

function removePart(place: IptablesPlace, { rules, jumps }: IptablesActual): PartChange {
  return {
    lines: [...(rules === undefined ? [] : [declare(place)]), ...jumps.map((spec) => `-D ${place.hook} ${spec}`)],
    last: rules === undefined ? [] : [`-X ${place.chain}`],
    deviations: {
      ...(rules === undefined ? {} : { "chain foreign": 1 }),
      ...(jumps.length === 0 ? {} : { "jump doubled": jumps.length }),
    },
  };
}

function declare({ chain }: IptablesPlace): string {
  return `:${chain} - [0:0]`;
}

import { formatPrefix } from "../net/prefix.ts";
import type { AddressMatch, Part, Rule, Verdict } from "./desired.ts";

/** Where flannel's rules are in iptables, and the comment that they carry. */
export interface IptablesPlace {
  readonly table: "nat" | "filter";
  /** the built-in chain that jumps to ours */
  readonly hook: string;
  readonly chain: string;
  readonly comment: string;
}

export const PLACES: Readonly<Record<Part, IptablesPlace>> = {
  masquerade: { table: "nat", hook: "POSTROUTING", chain: "FLANNEL-POSTRTG", comment: "flanneld masq" },
  forward: { table: "filter", hook: "FORWARD", chain: "FLANNEL-FWD", comment: "flanneld forward" },
};

const TARGETS: Readonly<Record<Verdict, string>> = {
  accept: "ACCEPT",
  return: "RETURN",
  masquerade: "MASQUERADE",
  "masquerade fully-random": "MASQUERADE --random-fully",
};

/** A rule as iptables-save writes it behind `-A CHAIN `. */
export function ruleSpec(rule: Rule, { comment }: IptablesPlace): string {
  const mark = rule.markBits === undefined ? [] : [`-m mark --mark ${hex(rule.markBits)}/${hex(rule.markBits)}`];
  const addresses = [...addressSpec("-s", rule.source), ...addressSpec("-d", rule.destination)];
  return [...addresses, ...mark, commentSpec(comment), `-j ${TARGETS[rule.verdict]}`].join(" ");
}

/** The jump from the built-in chain to ours, likewise. */
export function jumpSpec({ comment, chain }: IptablesPlace): string {
  return `${commentSpec(comment)} -j ${chain}`;
}

function commentSpec(comment: string): string {
  return `-m comment --comment "${comment}"`;
}

function addressSpec(option: string, match: AddressMatch | undefined): string[] {
  // All addresses are no condition, and iptables-save says nothing of it.
  if (match === undefined || (match.prefix.length === 0 && !match.not)) return [];
  return [`${match.not ? "! " : ""}${option} ${formatPrefix(match.prefix)}`];
}

function hex(value: number): string {
  return `0x${value.toString(16)}`;
}

/**
 * A rule's text in one form for all versions of iptables, which differ in the order in which they print the matches:
 * addresses and the like first, then the matches by name, then the target. Pure.
 */
export function canonicalSpec(spec: string): string {
  const groups: { key: string; words: string[] }[] = [{ key: "0", words: [] }];
  let not = false;
  for (const word of wordsOf(spec)) {
    if (word === "!") {
      not = true;
      continue;
    }
    if (word === "-m" || word === "-j" || word === "-g") groups.push({ key: word === "-m" ? "1" : "2", words: [] });
    const group = groups.at(-1);
    // The name of a match is what it is sorted by.
    if (group?.words.length === 1 && group.key === "1") group.key = `1 ${word}`;
    group?.words.push(...(not ? ["!", word] : [word]));
    not = false;
  }
  return groups
    .sort((a, b) => (a.key < b.key ? -1 : Number(a.key > b.key)))
    .flatMap(({ words }) => words)
    .join(" ");
}

/** The words of a line of iptables-save; one in quotes keeps them. */
function wordsOf(line: string): string[] {
  return line.match(/"(?:[^"\\]|\\.)*"|\S+/g) ?? [];
}

/** What is in one place: as texts that follow `-A CHAIN `. */
export interface IptablesActual {
  /** undefined: there is no such chain */
  readonly rules: readonly string[] | undefined;
  /** the rules of the built-in chain that go to ours, in their order */
  readonly jumps: readonly string[];
  /** the numbers, from 1, that these have in the built-in chain; only of several, and of one that is not as it should be */
  readonly numbers?: readonly number[];
}

/**
 * Reads what `iptables -S CHAIN` and `iptables-save -t TABLE` print, as far as it is about one place. Pure.
 * @param text may hold whatever else is in the table
 */
export function parseListing(text: string, place: IptablesPlace): IptablesActual {
  let rules: string[] | undefined;
  const jumps: string[] = [];
  for (const line of linesWith(place.chain, text)) {
    if (line.trimEnd() === `-N ${place.chain}` || line.startsWith(`:${place.chain} `)) {
      rules ??= [];
      continue;
    }
    const rule = specBehind(`-A ${place.chain}`, line);
    if (rule !== undefined) {
      rules ??= [];
      rules.push(rule);
      continue;
    }
    const hooked = specBehind(`-A ${place.hook}`, line);
    if (hooked !== undefined && targetOf(hooked) === place.chain) jumps.push(hooked);
  }
  const wanted = canonicalSpec(jumpSpec(place));
  const isRight = jumps.length === 0 || (jumps.length === 1 && canonicalSpec(jumps[0] ?? "") === wanted);
  return isRight ? { rules, jumps } : { rules, jumps, numbers: jumpNumbers(text, place) };
}

function jumpNumbers(text: string, place: IptablesPlace): number[] {
  const all = text.split("\n").map((line) => specBehind(`-A ${place.hook}`, line));
  return all
    .filter((spec) => spec !== undefined)
    .flatMap((spec, at) => (targetOf(spec) === place.chain ? [at + 1] : []));
}

/** The lines that hold a word, without splitting the rest, which may be a megabyte. */
function* linesWith(word: string, text: string): Generator<string> {
  for (let at = text.indexOf(word); at >= 0; ) {
    const end = text.indexOf("\n", at);
    yield text.slice(text.lastIndexOf("\n", at) + 1, end < 0 ? undefined : end);
    at = end < 0 ? -1 : text.indexOf(word, end);
  }
}

/** What follows `-A CHAIN`: nothing for a rule without conditions and target. */
function specBehind(start: string, line: string): string | undefined {
  if (!line.startsWith(start)) return undefined;
  const rest = line.slice(start.length);
  return rest === "" || rest.startsWith(" ") ? rest.trim() : undefined;
}

function targetOf(spec: string): string | undefined {
  const words = wordsOf(spec);
  const at = words.findLastIndex((word) => word === "-j" || word === "-g");
  return at < 0 ? undefined : words[at + 1];
}

import type { Part } from "../../src/rules/desired.ts";
import type { IptablesActual } from "../../src/rules/iptables-text.ts";
import { PLACES, parseListing } from "../../src/rules/iptables-text.ts";
import type { NftablesActual } from "../../src/rules/nftables-text.ts";

/** Chains by `table name`, with the texts behind `-A NAME `. */
export type IptablesWorld = Map<string, string[]>;

const BUILT_IN = ["POSTROUTING", "FORWARD"];

/** What `iptables-restore --noflush` makes of a world. @throws Error where it would refuse */
export function restore(world: IptablesWorld, input: string): IptablesWorld {
  const next: IptablesWorld = new Map([...world].map(([name, rules]) => [name, [...rules]]));
  let table = "";
  for (const line of input.split("\n").filter(Boolean)) {
    const [command = "", chain = "", ...rest] = line.split(" ");
    const spec = rest.join(" ");
    const rules = () => {
      const found = next.get(`${table} ${chain}`);
      if (found === undefined) throw new Error(`no chain: ${line}`);
      return found;
    };
    if (command.startsWith("*")) table = command.slice(1);
    else if (command.startsWith(":")) next.set(`${table} ${command.slice(1)}`, []);
    else if (command === "-A") rules().push(spec);
    else if (command === "-I") {
      const [number, ...inserted] = rest;
      if (Number(number) > rules().length + 1) throw new Error(`no such place: ${line}`);
      rules().splice(Number(number) - 1, 0, inserted.join(" "));
    } else if (command === "-D") {
      const at = rules().indexOf(spec);
      if (at < 0) throw new Error(`no such rule: ${line}`);
      rules().splice(at, 1);
    } else if (command === "-X") {
      const used = [...next].some(([name, all]) => name.startsWith(table) && all.some((rule) => rule.endsWith(chain)));
      if (rules().length > 0 || used) throw new Error(`in use: ${line}`);
      next.delete(`${table} ${chain}`);
    } else if (command !== "COMMIT") throw new Error(`unknown: ${line}`);
  }
  return next;
}

/** As iptables-save prints it. */
function listing(world: IptablesWorld, table: string): string {
  const chains = [...world].filter(([name]) => name.startsWith(`${table} `));
  const named = chains.map(([name, rules]) => [name.slice(table.length + 1), rules] as const);
  return [
    `*${table}`,
    ...named.map(([name]) => `:${name} ${BUILT_IN.includes(name) ? "ACCEPT" : "-"} [0:0]`),
    ...named.flatMap(([name, rules]) => rules.map((rule) => `-A ${name}${rule === "" ? "" : ` ${rule}`}`)),
    "COMMIT",
  ].join("\n");
}

export function readWorld(world: IptablesWorld): Record<Part, IptablesActual> {
  const read = (part: Part) => parseListing(listing(world, PLACES[part].table), PLACES[part]);
  return { masquerade: read("masquerade"), forward: read("forward") };
}

/** What nft makes of one of our tables. @throws Error where it would refuse */
export function runNft(
  before: NftablesActual | undefined,
  table: string,
  commands: string,
): NftablesActual | undefined {
  let actual = before && copyOf(before);
  for (const line of commands.split("\n").filter(Boolean)) {
    const match = /^(add|flush|delete) (table|chain|rule|set) (\S+ \S+) ?(\S*) ?(.*)$/.exec(line);
    const [, verb, what, where, name = "", rest = ""] = match ?? [];
    if (where !== table) continue;
    if (what === "table") {
      actual = verb === "delete" ? undefined : (actual ?? { flags: false, chains: new Map(), objects: [] });
      continue;
    }
    if (what === "set" && actual !== undefined) {
      const left = actual.objects.filter((object) => object.name !== name);
      if (verb !== "delete" || left.length === actual.objects.length) throw new Error(`no set: ${line}`);
      actual = { ...actual, objects: left };
      continue;
    }
    const chains = actual?.chains;
    const chain = chains?.get(name);
    if (chains === undefined) throw new Error(`no table: ${line}`);
    if (verb === "add" && what === "chain") {
      const text = rest
        .replace(/^\{ /, "")
        .replaceAll(" ;", "")
        .replace(/( comment .*)? \}$/, "");
      if (chain !== undefined && chain.properties !== text) throw new Error(`another chain has the name: ${line}`);
      chains.set(name, chain ?? { properties: text, rules: [] });
    } else if (chain === undefined) throw new Error(`no chain: ${line}`);
    else if (verb === "flush") chain.rules.length = 0;
    else if (verb === "delete") {
      const used = [...chains.values()].some(({ rules }) => rules.includes(`jump ${name}`));
      if (chain.rules.length > 0 || used) throw new Error(`in use: ${line}`);
      chains.delete(name);
    } else chain.rules.push(rest);
  }
  return actual;
}

type Chains = Map<string, { properties: string; rules: string[] }>;

function copyOf({ flags, chains, objects }: NftablesActual): Omit<NftablesActual, "chains"> & { chains: Chains } {
  return {
    flags,
    objects,
    chains: new Map([...chains].map(([name, chain]) => [name, { ...chain, rules: [...chain.rules] }])),
  };
}

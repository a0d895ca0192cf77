import * as v from "valibot";
import type { Nftables } from "../ffi/libnftables.ts";
import type { Nfnetlink } from "../ffi/nfnetlink.ts";
import { FAMILIES, familiesOf, mapFamilies, type PerFamily } from "../net/family.ts";
import type { Backend, FamilyReport } from "./backend.ts";
import type { FamilyRules } from "./desired.ts";
import { diffNftables } from "./nftables-diff.ts";
import { type NftablesActual, parseTable, TABLES } from "./nftables-text.ts";

const PROBE = "add table ip flannel-probe";

const Version = v.object({
  nftables: v.looseTuple([v.object({ metainfo: v.object({ version: v.string() }) })]),
});

/** Rules by libnftables, in this process. */
export class NftablesBackend implements Backend {
  readonly mode = "nftables";
  readonly name = "nftables";
  readonly version: string | undefined;
  readonly randomFully: boolean;
  readonly #nftables: Nftables;
  readonly #nfnetlink: Nfnetlink;
  readonly #comments: boolean;

  /** @param nftables is closed with the back end */
  constructor(nftables: Nftables, nfnetlink: Nfnetlink) {
    this.#nftables = nftables;
    this.#nfnetlink = nfnetlink;
    // What the kernel and the library know is tried, and not kept.
    const chain = `${PROBE}\nadd chain ip flannel-probe c { type nat hook postrouting priority 100 ; }`;
    this.randomFully = nftables.accepts(`${chain}\nadd rule ip flannel-probe c masquerade fully-random`);
    this.#comments = nftables.accepts(`${PROBE} { comment "c" ; }\nadd chain ip flannel-probe c { comment "c" ; }`);
    const listed = v.safeParse(Version, JSON.parse(nftables.run("list tables") || "null"));
    this.version = listed.success ? listed.output.nftables[0].metainfo.version : undefined;
  }

  async ensure(
    wanted: PerFamily<FamilyRules>,
    _signal: AbortSignal,
    sign: () => string | undefined = () => undefined,
  ): Promise<PerFamily<FamilyReport>> {
    const families = familiesOf(wanted);
    try {
      const options = { comments: this.#comments };
      const before = sign();
      const change = diffNftables(wanted, this.#read(wanted), options);
      if (change === undefined) return mapFamilies(wanted, () => ({ mended: {}, sign: before }));
      const started = performance.now();
      this.#nftables.run(change.commands);
      const after = sign();
      const left = diffNftables(wanted, this.#read(wanted), options);
      const writeMs = performance.now() - started;
      return mapFamilies(wanted, (_, family): FamilyReport => {
        const mended = change.deviations[family];
        const still = left?.deviations[family];
        if (still !== undefined) return { mended: {}, error: unlike(TABLES[family].name, Object.keys(still)) };
        return mended === undefined ? { mended: {}, sign: after } : { mended, writeMs, sign: after };
      });
    } catch (cause) {
      const tables = families.map((family) => TABLES[family].name).join(", ");
      const error = new Error(`keep the nftables rules in ${tables}`, { cause });
      return mapFamilies(wanted, () => ({ mended: {}, error }));
    }
  }

  #read(wanted: PerFamily<FamilyRules>): PerFamily<NftablesActual> {
    const actual: PerFamily<NftablesActual> = {};
    const tables = this.#nfnetlink.tables();
    for (const family of FAMILIES) {
      const { family: protocol, name } = TABLES[family];
      if (wanted[family] === undefined) continue;
      if (!tables.some((table) => table.family === protocol && table.name === name)) continue;
      actual[family] = parseTable(this.#nftables.run(`list table ${protocol} ${name}`));
    }
    return actual;
  }

  [Symbol.dispose](): void {
    this.#nftables[Symbol.dispose]();
  }
}

function unlike(table: string, what: readonly string[]): Error {
  return new Error(
    `table ${table} is not as it was written (${what.join(", ")}): another program writes to it; if a flanneld runs on this ` +
      "node, stop it",
  );
}

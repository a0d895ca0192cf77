import type { LegacyTable, LegacyTables } from "../ffi/xtables.ts";
import { FAMILIES, type Family } from "../net/family.ts";

/** The tables in which our rules are. */
const OURS: readonly string[] = ["filter", "nat"];

/** What legacy iptables has in the kernel, for both families. */
export class LegacyState implements Disposable {
  readonly #open: (family: Family) => LegacyTables;
  readonly #tables = new Map<Family, LegacyTables>();
  readonly #seen = new Map<Family, string[]>();

  constructor(open: (family: Family) => LegacyTables) {
    this.#open = open;
  }

  tables(family: Family): string[] {
    return this.#of(family).names();
  }

  /** A text that changes with the rules of the tables that ours are in. */
  fingerprint(families: readonly Family[]): string {
    return families
      .flatMap((family) => this.#read(family).map(({ name, table }) => `${family} ${name} ${table.fingerprint}`))
      .join("; ");
  }

  /** Whether a text that only our rules have is in the tables that ours would be in. */
  mentions(family: Family, text: string): boolean {
    return this.#read(family).some(({ table }) => table.mentions(text));
  }

  #read(family: Family): { name: string; table: LegacyTable }[] {
    const tables = this.#of(family);
    // Tables come and stay: once both are there the list, which is a file, need not be read again.
    const seen = this.#seen.get(family) ?? tables.names().filter((name) => OURS.includes(name));
    if (seen.length === OURS.length) this.#seen.set(family, seen);
    return seen.sort().map((name) => ({ name, table: tables.read(name) }));
  }

  /** The families whose FORWARD chain drops by its policy. */
  droppingFamilies(): Family[] {
    return FAMILIES.filter((family) => {
      const tables = this.#of(family);
      return tables.names().includes("filter") && tables.read("filter").dropsForwarded;
    });
  }

  #of(family: Family): LegacyTables {
    const known = this.#tables.get(family);
    if (known !== undefined) return known;
    const tables = this.#open(family);
    this.#tables.set(family, tables);
    return tables;
  }

  [Symbol.dispose](): void {
    for (const tables of this.#tables.values()) tables[Symbol.dispose]();
    this.#tables.clear();
  }
}

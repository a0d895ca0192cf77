import type { LegacyTable, LegacyTables } from "../ffi/xtables.ts";
import { FAMILIES, type Family } from "../net/family.ts";
import { type IptablesPlace, PLACES } from "./iptables-text.ts";

/** The tables in which our rules are, each with our chain. */
const OURS: readonly IptablesPlace[] = [PLACES.forward, PLACES.masquerade];

/** What legacy iptables has in the kernel, for both families. */
export class LegacyState implements Disposable {
  readonly #open: (family: Family) => LegacyTables;
  readonly #tables = new Map<Family, LegacyTables>();
  readonly #complete = new Set<Family>();

  constructor(open: (family: Family) => LegacyTables) {
    this.#open = open;
  }

  tables(family: Family): string[] {
    return this.#of(family).names();
  }

  /** A text that changes with our chains and the jumps to them. */
  fingerprint(families: readonly Family[]): string {
    return families
      .flatMap((family) =>
        this.#read(family).map(({ place, table }) => `${family} ${place.table} ${table.fingerprint(place.chain)}`),
      )
      .join("; ");
  }

  /** Whether the tables that ours would be in have a chain of this name. */
  has(family: Family, chain: string): boolean {
    return this.#read(family).some(({ table }) => table.has(chain));
  }

  #read(family: Family): { place: IptablesPlace; table: LegacyTable }[] {
    const tables = this.#of(family);
    // Tables come and stay: once both are there the list, which is a file, need not be read again.
    const names = this.#complete.has(family) ? undefined : tables.names();
    const present = OURS.filter(({ table }) => names?.includes(table) ?? true);
    if (present.length === OURS.length) this.#complete.add(family);
    return present.map((place) => ({ place, table: tables.read(place.table) }));
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

/** The address families, named by their IP version. Everything that depends on one takes it as a parameter. */
export type Family = 4 | 6;

export const FAMILIES: readonly Family[] = [4, 6];

/** One optional value for each family, as dual-stack configuration and leases have it. */
export type PerFamily<T> = Partial<Record<Family, T>>;

/** Bits of an address: 32 or 128. */
export const ADDRESS_BITS: Readonly<Record<Family, number>> = { 4: 32, 6: 128 };

/** Applies `f` to each value that is there; a family whose result is undefined is left out. */
export function mapFamilies<T, U>(values: PerFamily<T>, f: (value: T, family: Family) => U | undefined): PerFamily<U> {
  const out: PerFamily<U> = {};
  for (const family of FAMILIES) {
    const value = values[family];
    if (value === undefined) continue;
    const mapped = f(value, family);
    if (mapped !== undefined) out[family] = mapped;
  }
  return out;
}

/** The families for which there is a value, IPv4 first. */
export function familiesOf(values: PerFamily<unknown>): Family[] {
  return FAMILIES.filter((family) => values[family] !== undefined);
}

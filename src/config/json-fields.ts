import { nearest } from "./nearest.ts";
import { show } from "./schema.ts";

/** The fields of a JSON object under the names that they are known by. */
interface JsonFields {
  readonly known: Readonly<Record<string, unknown>>;
  /** one sentence each */
  readonly warnings: readonly string[];
}

/**
 * Sorts a JSON object's fields as Go's encoding/json does: letter case is ignored, of several the last one counts, null
 * leaves the default. Unknown fields give a warning.
 * @param where put before a field's name in warnings: `Backend.`, or nothing at the top
 */
export function pickFields(object: object, names: readonly string[], where: string): JsonFields {
  const byLower = new Map(names.map((name) => [name.toLowerCase(), name]));
  const known = new Map<string, unknown>();
  const warnings: string[] = [];
  for (const [key, value] of Object.entries(object)) {
    const name = byLower.get(key.toLowerCase());
    if (name === undefined) {
      const meant = nearest(key, names);
      const advice = meant ? `did you mean ${JSON.stringify(meant)}?` : "remove it, or check its spelling";
      warnings.push(`${where}${/^\w{1,60}$/.test(key) ? key : show(key)} is unknown and ignored; ${advice}`);
      continue;
    }
    if (known.has(name)) warnings.push(`${where}${name} is given more than once; the last one counts`);
    if (value !== null || !known.has(name)) known.set(name, value ?? undefined);
  }
  return { known: Object.fromEntries(known), warnings };
}

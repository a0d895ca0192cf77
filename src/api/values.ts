import * as v from "valibot";

/** What the resources have in common. A field that has no value now is null: it never goes missing. */

/** RFC 3339, in UTC, with milliseconds. */
export const Time = v.pipe(v.string(), v.isoTimestamp(), v.description("RFC 3339"));

export const Count = v.pipe(v.number(), v.integer(), v.minValue(0));

/** Milliseconds. */
export const Duration = v.pipe(v.number(), v.minValue(0), v.description("milliseconds"));

export const FamilyName = v.picklist(["ipv4", "ipv6"]);
export type FamilyName = v.InferOutput<typeof FamilyName>;

/** One optional value for each family; the only object whose fields may be missing. */
export function perFamily<S extends v.GenericSchema>(schema: S) {
  return v.object({ ipv4: v.optional(schema), ipv6: v.optional(schema) });
}

/** A list is given in pages. */
export function page<S extends v.GenericSchema>(items: S) {
  return {
    items: v.array(items),
    total: v.pipe(Count, v.description("items that match the query, on all pages")),
    offset: v.pipe(Count, v.description("of the first item of this page among them")),
    next: v.pipe(v.nullable(v.string()), v.description("path and query of the next page")),
  };
}

/** How often something of each kind happened. */
export const CountsByKind = v.record(v.string(), Count);

/** One thing that is not right, and where. */
export const Finding = v.object({
  condition: v.pipe(v.string(), v.description("the part that it is about")),
  message: v.string(),
});

export const ApiError = v.object({
  error: v.pipe(v.string(), v.description("what is wrong, and what would be right")),
});

import type * as v from "valibot";

/** The items of a list, which are made when they are asked for; an array is one, too. */
export type Items<T> = Pick<readonly T[], "length" | "slice">;

/** What a resource shows: what its schema has, but for a list's `items`, which may be made while they are sent. */
export type Shown<Schema extends v.GenericSchema> = WithItems<v.InferOutput<Schema>>;

type WithItems<T> = T extends { readonly items: readonly (infer Item)[] }
  ? Omit<T, "items"> & { readonly items: Items<Item> }
  : T;

/** What each item shows, made a slice at a time: of thousands, only those are in memory that are just being sent. */
export function shownWhenAsked<T, U>(all: readonly T[], view: (item: T) => U): Items<U> {
  return { length: all.length, slice: (start, end) => all.slice(start, end).map(view) };
}

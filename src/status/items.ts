/** The items of a list, which are made when they are asked for; an array is one, too. */
export type Items<T> = Pick<readonly T[], "length" | "slice">;

/** What a resource's schema has, but for a list's `items`: those may be made while they are sent. */
export type WithItems<T> = T extends { readonly items: readonly (infer Item)[] }
  ? Omit<T, "items"> & { readonly items: Items<Item> }
  : T;

/** What each item shows, made a slice at a time: of thousands, only those are in memory that are just being sent. */
export function shownWhenAsked<T, U>(all: readonly T[], view: (item: T) => U): Items<U> {
  return { length: all.length, slice: (start, end) => all.slice(start, end).map(view) };
}

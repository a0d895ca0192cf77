// What the manifests are described by: objects of Kubernetes with holes in them. Filled with the values' defaults they are
// the plain manifest; with Helm's expressions in the holes, the chart's templates. So the two can't differ.
import { type Given, valueAt } from "./values.ts";

export type Tree =
  | string
  | number
  | boolean
  | Hole
  | Spread
  | When
  | readonly Tree[]
  | { readonly [key: string]: Tree };

/** One text or number, or with `block` a text of several lines. */
export class Hole {
  readonly expression: string;
  readonly plain: string | number;
  readonly block: boolean;

  constructor(expression: string, plain: string | number, block = false) {
    this.expression = expression;
    this.plain = plain;
    this.block = block;
  }
}

/** The entries of a list or a map that a value holds, among others. */
export class Spread {
  readonly expression: string;
  readonly plain: Given;

  constructor(expression: string, plain: Given) {
    this.expression = expression;
    this.plain = plain;
  }
}

/** Entries that are there only under a condition. */
export class When {
  readonly condition: string;
  readonly holds: boolean;
  readonly entries: readonly Tree[] | { readonly [key: string]: Tree };

  constructor(condition: string, holds: boolean, entries: When["entries"]) {
    this.condition = condition;
    this.holds = holds;
    this.entries = entries;
  }

  get inMap(): { [key: string]: Tree } {
    return { [nameless()]: this };
  }
}

/** The values' texts by their paths, in one text. */
export function text(format: string, ...paths: readonly string[]): Hole {
  const parts = paths.map((path) => `${valueAt(path)}`);
  // A number of a values file is a float to Helm, which %s can't print.
  const texts = paths.map((path) => `(toString .Values.${path})`).join(" ");
  return new Hole(
    `printf "${format}" ${texts} | quote`,
    format.replaceAll("%s", () => parts.shift() ?? ""),
  );
}

export function number(path: string): Hole {
  return new Hole(`int .Values.${path}`, Number(valueAt(path)));
}

export function spread(path: string): Spread {
  return new Spread(`.Values.${path}`, valueAt(path));
}

/** Entries for a list; with `inMap`, for a map: there if the value is set to something other than 0, false or nothing. */
export function whenGiven(path: string, entries: When["entries"]): When {
  const value = valueAt(path);
  const isEmpty = typeof value === "object" && Object.keys(value).length === 0;
  return new When(`.Values.${path}`, Boolean(value) && !isEmpty, entries);
}

let keys = 0;
/** A key that stands for entries of its map. It is never written. */
const nameless = (): string => `entries ${keys++}`;

export function spreadInMap(path: string): { [key: string]: Tree } {
  return { [nameless()]: spread(path) };
}

/** The tree without its holes: what is in them if nobody says otherwise. */
export function filled(tree: Tree): Given {
  if (tree instanceof Hole) return tree.plain;
  if (tree instanceof Spread) return tree.plain;
  if (tree instanceof When) return tree.holds ? filled(tree.entries) : [];
  if (isList(tree)) {
    return tree.flatMap((entry): Given[] => {
      const value = filled(entry);
      return isNameless(entry) ? (Array.isArray(value) ? value : []) : [value];
    });
  }
  if (typeof tree !== "object") return tree;
  const entries = Object.entries(tree).flatMap(([key, entry]): [string, Given][] => {
    const value = filled(entry);
    if (!isNameless(entry)) return [[key, value]];
    return typeof value === "object" && !Array.isArray(value) ? Object.entries(value) : [];
  });
  return Object.fromEntries(entries);
}

/** Its entries are those of the list or map around it. */
function isNameless(tree: Tree): tree is Spread | When {
  return tree instanceof Spread || tree instanceof When;
}

export function isList(tree: Tree): tree is readonly Tree[] {
  return Array.isArray(tree);
}

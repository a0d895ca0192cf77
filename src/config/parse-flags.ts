import * as v from "valibot";
import { UsageError } from "../base/errors.ts";
import { dashed, FLAG_NAMES, type FLAGS, type FlagName, flagSpec } from "./flag-table.ts";
import type { FlagType } from "./flag-values.ts";
import { type GivenFlag, lexArguments, lexEnvironment } from "./lex-flags.ts";

type Value<S> = S extends { readonly type: FlagType<infer T> } ? T : never;
type Held<S> = S extends { readonly repeatable: true }
  ? readonly Value<S>[]
  : S extends { readonly default: string }
    ? Value<S>
    : Value<S> | undefined;

/** The value of every flag by its name, with the type that the table gives it. */
export type FlagValues = { readonly [K in FlagName]: Held<(typeof FLAGS)[K]> };

export interface ParsedFlags {
  readonly values: FlagValues;
  /** the flags that are set, to their last occurrence; the rest has its default */
  readonly given: ReadonlyMap<FlagName, GivenFlag>;
}

/**
 * Reads every flag from the command line, else from the environment, else from its default.
 * With `--help` or `--version` nothing else is looked at.
 * @throws UsageError that names the flag and says what it takes
 */
export function parseFlags(
  args: readonly string[],
  environment: Readonly<Record<string, string | undefined>>,
): ParsedFlags {
  const fromArguments = lexArguments(args);
  const asks = fromArguments.filter(({ name }) => name === "help" || name === "version");
  if (asks.some(({ name, text }) => convert({ name, text }) === true)) return collect(asks);
  const named = new Set(fromArguments.map(({ name }) => name));
  return collect([...fromArguments, ...lexEnvironment(environment).filter(({ name }) => !named.has(name))]);
}

function collect(occurrences: readonly GivenFlag[]): ParsedFlags {
  const given = new Map<FlagName, GivenFlag>();
  const values: Partial<Record<FlagName, unknown>> = {};
  for (const name of FLAG_NAMES) {
    const spec = flagSpec(name);
    const own = occurrences.filter((one) => one.name === name);
    const set = (spec.repeatable ? own : own.slice(-1)).filter(({ text }) => text !== "" || !spec.type.mayBeEmpty);
    const last = set.at(-1);
    if (last !== undefined) given.set(name, last);
    const sources = last !== undefined ? set : spec.default === undefined ? [] : [{ name, text: spec.default }];
    const converted = sources.map(convert);
    values[name] = spec.repeatable ? converted : converted.at(-1);
  }
  // The loop has gone through the table that FlagValues is derived from.
  return { values: values as FlagValues, given };
}

function convert(source: GivenFlag): unknown {
  const result = v.safeParse(flagSpec(source.name).type.schema, source.text);
  if (result.success) return result.output;
  throw new UsageError(describeFlag(source, result.issues[0].message));
}

/** A sentence about a flag that names the environment variable if it comes from one. */
export function describeFlag({ name, env }: GivenFlag, predicate: string): string {
  return `${env ? `${env}: ` : ""}${dashed(name)} ${predicate}`;
}

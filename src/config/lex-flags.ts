import { UsageError } from "../base/errors.ts";
import { dashed, envNameOf, FLAG_NAMES, type FlagName, findFlag, flagSpec } from "./flag-table.ts";
import { parseGoBool } from "./go-values.ts";
import { nearest } from "./nearest.ts";

/** One occurrence of a flag, its value still as text. */
export interface GivenFlag {
  readonly name: FlagName;
  readonly text: string;
  /** the environment variable that it comes from */
  readonly env?: string;
}

/**
 * Splits a command line as Go's flag package does: one dash or two, `-x=v`, `-x v`, `-x` alone for booleans, `--` ends
 * the flags. A call for help ends the reading, as in Go.
 * @throws UsageError for an unknown flag, a missing value, or an argument that is no flag
 */
export function lexArguments(args: readonly string[]): GivenFlag[] {
  const given: GivenFlag[] = [];
  let at = 0;
  while (at < args.length) {
    const arg = args[at++] ?? "";
    if (arg === "--") break;
    const match = /^--?([^-=][^=]*)(?:=([\s\S]*))?$/.exec(arg);
    if (match === null) {
      const malformed = arg.startsWith("-") && arg !== "-";
      throw malformed
        ? new UsageError(`${JSON.stringify(arg)} is not a flag; write --NAME=VALUE`)
        : unexpected(arg, given.at(-1));
    }
    const name = findFlag(match[1] ?? "");
    if (name === undefined) throw unknown(match[1] ?? "");
    const { bare, label } = flagSpec(name).type;
    const text = match[2] ?? bare ?? args[at++];
    if (text === undefined) throw new UsageError(`${dashed(name)} needs a value: ${dashed(name)}=${label}`);
    given.push({ name, text });
    if (name === "help" && parseGoBool(text) === true) return given;
  }
  const rest = args[at];
  if (rest !== undefined) throw unexpected(rest, undefined);
  return given;
}

/** The flags that come from the environment: each variable is one value as a whole, an empty one counts as not set. */
export function lexEnvironment(environment: Readonly<Record<string, string | undefined>>): GivenFlag[] {
  return FLAG_NAMES.flatMap((name) => {
    const env = envNameOf(name);
    const text = env && environment[env];
    return env && text ? [{ name, text, env }] : [];
  });
}

function unknown(name: string): UsageError {
  const names = FLAG_NAMES.filter((known) => known.length > 1);
  const meant = nearest(name, names);
  return new UsageError(`unknown flag --${name}: ${meant ? `did you mean --${meant}?` : "--help lists the flags"}`);
}

function unexpected(arg: string, before: GivenFlag | undefined): UsageError {
  const what = `unexpected argument ${JSON.stringify(arg)}`;
  const isBooleanValue =
    before !== undefined && flagSpec(before.name).type.bare !== undefined && parseGoBool(arg) !== undefined;
  return new UsageError(
    isBooleanValue ? `${what}: write ${dashed(before.name)}=${arg}` : `${what}: only flags are allowed here`,
  );
}

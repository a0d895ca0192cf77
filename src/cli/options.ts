import { parseArgs } from "node:util";
import * as v from "valibot";
import { UsageError } from "../base/errors.ts";
import { nearest } from "../config/nearest.ts";
import { mustBe, show } from "../config/schema.ts";

/** One option of a command: reading it and its line in the help both come from here. */
export interface OptionSpec {
  readonly usage: string;
  readonly short?: string;
  /** the value's name in the help; an option without one takes no value */
  readonly value?: string;
  /** for completions, where the schema takes more than single words of a choice */
  readonly suggestions?: readonly string[];
  readonly schema: v.GenericSchema<unknown, unknown>;
}

export type OptionSpecs = Readonly<Record<string, OptionSpec>>;

/** One argument without a dash, named in upper case in messages and the usage line; others may follow only in order. */
export interface ArgumentSpec {
  readonly usage: string;
  /** takes undefined where the argument may be left out */
  readonly schema: v.GenericSchema<unknown, unknown>;
}

/** In the order in which they are given. None shares its name with an option. */
export type ArgumentSpecs = Readonly<Record<string, ArgumentSpec>>;

export type OptionValues<S extends OptionSpecs | ArgumentSpecs> = {
  readonly [K in keyof S]: v.InferOutput<S[K]["schema"]>;
};

/** What a command takes: parsing, the help and the completions come from here. */
export interface CommandSpec {
  readonly options: OptionSpecs;
  readonly args: ArgumentSpecs;
  /** it takes the agent's flags, too */
  readonly takesFlags?: boolean;
}

/** Off unless given. */
export const SWITCH = v.optional(v.boolean(), false);

export const HELP = { short: "h", usage: "show this help", schema: SWITCH } as const satisfies OptionSpec;

export const OUTPUT = {
  short: "o",
  value: "FORMAT",
  usage: "text (if not given) or json: one document on stdout",
  schema: v.optional(v.picklist(["text", "json"], mustBe("text or json")), "text"),
} as const satisfies OptionSpec;

/**
 * Reads a command's options, `--name=value`, `--name value`, one dash as good as two, and its arguments, if it takes any.
 * With --help nothing has to be there.
 * @throws UsageError with one line that names the option, says what is allowed, and suggests the nearest
 */
export function parseOptions<const S extends OptionSpecs, const A extends ArgumentSpecs = Record<never, ArgumentSpec>>(
  specs: S,
  args: readonly string[],
  argumentSpecs?: A,
): OptionValues<S> & OptionValues<A> {
  const names = Object.keys(specs);
  const { tokens } = parseArgs({
    args: args.map((arg) => normalise(names, arg)),
    options: Object.fromEntries(
      names.map((name) => {
        const { short, value } = specOf(specs, name);
        return [name, { type: value === undefined ? "boolean" : "string", ...(short ? { short } : {}) }] as const;
      }),
    ),
    strict: false,
    allowPositionals: true,
    tokens: true,
  });
  const given: Record<string, string | boolean> = {};
  const plain: string[] = [];
  for (const token of tokens) {
    if (token.kind === "positional") {
      plain.push(token.value);
      continue;
    }
    if (token.kind === "option-terminator") continue;
    if (!Object.hasOwn(specs, token.name)) throw unknown(names, token.name, token.rawName);
    const { value } = specOf(specs, token.name);
    if (value === undefined && token.value !== undefined) throw new UsageError(`--${token.name} takes no value`);
    if (value !== undefined && token.value === undefined)
      throw new UsageError(`--${token.name} needs a value: --${token.name}=${value}`);
    given[token.name] = token.value ?? true;
  }
  const values: Record<string, unknown> = {};
  for (const name of names) {
    const result = v.safeParse(specOf(specs, name).schema, given[name], { abortEarly: true });
    if (!result.success) throw new UsageError(`--${name} ${result.issues[0].message}`);
    values[name] = result.output;
  }
  const helpOnly = values["help"] === true;
  return { ...values, ...readArguments(argumentSpecs ?? {}, plain, helpOnly) } as OptionValues<S> & OptionValues<A>;
}

function readArguments(specs: ArgumentSpecs, given: readonly string[], helpOnly: boolean): Record<string, unknown> {
  const entries = Object.entries(specs);
  const unexpected = given[entries.length];
  if (unexpected !== undefined) {
    const allowed = entries.map(([name]) => upper(name)).join(" and ") || "options";
    throw new UsageError(
      `unexpected argument ${show(unexpected)}: only ${allowed} ${entries.length === 1 ? "is" : "are"} allowed here`,
    );
  }
  return Object.fromEntries(
    entries.map(([name, { schema, usage }], at) => {
      const result = v.safeParse(schema, given[at], { abortEarly: true });
      if (result.success) return [name, result.output];
      if (given[at] !== undefined) throw new UsageError(`${upper(name)} ${result.issues[0].message}`);
      if (helpOnly) return [name, undefined];
      throw new UsageError(`${upper(name)} is missing: ${usage}`);
    }),
  );
}

function upper(name: string): string {
  return name.toUpperCase();
}

/** The words that an option or an argument takes, where its schema names them all. */
export function choicesOf(schema: v.GenericSchema<unknown, unknown>): readonly string[] {
  if ("wrapped" in schema && v.is(SCHEMA, schema.wrapped)) return choicesOf(schema.wrapped);
  return "options" in schema && v.is(WORDS, schema.options) ? schema.options : [];
}

const WORDS = v.array(v.string());
const SCHEMA = v.custom<v.GenericSchema<unknown, unknown>>(
  (value) => typeof value === "object" && value !== null && "~standard" in value,
);

/** The lines of the help, aligned. */
export function optionsHelp(specs: OptionSpecs): string {
  return alignedHelp(
    Object.entries(specs).map(([name, { short, value, usage }]) => {
      return [`${short ? `-${short}, ` : "    "}--${name}${value ? `=${value}` : ""}`, usage] as const;
    }),
  );
}

/** Columns that a help may have. */
const HELP_WIDTH = 80;

/** Terms with what they mean beside them, wrapped where a line would be too long. */
export function alignedHelp(rows: readonly (readonly [term: string, text: string])[]): string {
  const width = Math.max(...rows.map(([term]) => term.length));
  const room = HELP_WIDTH - width - 4;
  return rows
    .flatMap(([term, text]) =>
      wrapped(text, room).map((line, at) => `  ${(at === 0 ? term : "").padEnd(width)}  ${line}`),
    )
    .join("\n");
}

function wrapped(text: string, width: number): string[] {
  const lines: string[] = [];
  for (const word of text.split(" ")) {
    const line = lines.at(-1);
    if (line !== undefined && line.length + 1 + word.length <= width) lines[lines.length - 1] = `${line} ${word}`;
    else lines.push(word);
  }
  return lines;
}

function specOf(specs: OptionSpecs, name: string): OptionSpec {
  const spec = specs[name];
  if (spec === undefined) throw new RangeError(`there is no option ${name}`);
  return spec;
}

/** As with the agent's flags, one dash in front of a long name is as good as two, and `-o=json` as good as `-o json`. */
function normalise(names: readonly string[], arg: string): string {
  const [, name = "", value] = /^-([\w-]+)(?:=(.*))?$/s.exec(arg) ?? [];
  if (names.includes(name)) return `-${arg}`;
  return value !== undefined && name.length === 1 ? `-${name}${value}` : arg;
}

function unknown(names: readonly string[], name: string, written: string): UsageError {
  const meant = nearest(name, names) ?? names.find((known) => known.startsWith(name));
  return new UsageError(
    `unknown option ${written}: ${meant ? `did you mean --${meant}?` : "--help lists the options"}`,
  );
}

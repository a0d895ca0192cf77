import { dashed, FLAG_NAMES, flagSpec } from "../../config/flag-table.ts";
import { type CommandSpec, choicesOf, type OptionSpec } from "../options.ts";

/** What there is to complete, the same for all shells. */

export interface Word {
  /** as written: `--output`, `-o` */
  readonly spellings: readonly string[];
  readonly usage: string;
  readonly value: Value | undefined;
}

/** What follows an option, or stands alone. */
export interface Value {
  readonly name: string;
  /** all that is allowed, where that is known */
  readonly choices: readonly string[];
  readonly isFile: boolean;
}

export interface CompletableCommand {
  readonly summary: string;
  /** loads the command's module */
  spec(): Promise<CommandSpec>;
}

interface CommandModel {
  readonly name: string;
  readonly summary: string;
  readonly options: readonly Word[];
  readonly args: readonly Value[];
}

export interface Model {
  readonly commands: readonly CommandModel[];
  /** of the agent itself */
  readonly flags: readonly Word[];
}

/** They have the agent say something and end. */
const NOT_WITH_COMMANDS: ReadonlySet<string> = new Set(["help", "version"]);

const FILE = /^(PATH|FILE)$/;

export async function modelOf(commands: Readonly<Record<string, CompletableCommand>>): Promise<Model> {
  const models = Object.entries(commands).map(async ([name, { summary, spec }]): Promise<CommandModel> => {
    const { options, args, takesFlags = false } = await spec();
    const own = Object.entries(options).map(([option, each]) => optionWord(option, each));
    const others = FLAG_NAMES.filter((flag) => takesFlags && !NOT_WITH_COMMANDS.has(flag) && !(flag in options));
    return {
      name,
      summary,
      options: [...own, ...others.map(flagWord)],
      args: Object.entries(args).map(([arg, { schema }]) => valueFor(arg.toUpperCase(), choicesOf(schema))),
    };
  });
  return { commands: await Promise.all(models), flags: FLAG_NAMES.map(flagWord) };
}

function optionWord(name: string, { short, value, usage, schema, suggestions }: OptionSpec): Word {
  // docker-opts has letters alone, as the script that it stands for.
  const long = name.length === 1 ? `-${name}` : `--${name}`;
  return {
    spellings: short === undefined || short === name ? [long] : [long, `-${short}`],
    usage,
    value: value === undefined ? undefined : valueFor(value, suggestions ?? choicesOf(schema)),
  };
}

function flagWord(name: (typeof FLAG_NAMES)[number]): Word {
  const { type, alias, usage } = flagSpec(name);
  // In capitals stands what a value is about.
  const choices = /^[a-z|]+$/.test(type.label) && type.label.includes("|") ? type.label.split("|") : [];
  return {
    spellings: alias === undefined ? [dashed(name)] : [dashed(name), `-${alias}`],
    usage,
    // A boolean takes its value behind = alone.
    value: type.bare === undefined ? valueFor(type.label, choices) : undefined,
  };
}

function valueFor(name: string, choices: readonly string[]): Value {
  return { name, choices, isFile: FILE.test(name) };
}

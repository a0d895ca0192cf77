import { dashed, envNameOf, FLAG_NAMES, type FlagName, flagSpec } from "./flag-table.ts";

/** `--healthz-port=int`; a boolean's value is optional. */
function written(name: FlagName): string {
  const { type, alias } = flagSpec(name);
  const plain = type.bare === undefined ? `${dashed(name)}=${type.label}` : dashed(name);
  return alias ? `-${alias}, ${plain}` : plain;
}

function notes(name: FlagName): string[] {
  const { repeatable, notYet, default: value } = flagSpec(name);
  const out: string[] = [];
  if (value !== undefined) out.push(`default ${value}`);
  if (repeatable) out.push("repeatable");
  const env = envNameOf(name);
  if (env) out.push(env);
  if (notYet) out.push("not available in this build");
  return out;
}

function groups(): Map<string, FlagName[]> {
  return Map.groupBy(FLAG_NAMES, (name) => flagSpec(name).group);
}

/** The flags part of `tartan --help`, by group. */
export function flagHelp(): string {
  const sections = [...groups()].map(([group, names]) => {
    const entries = names.flatMap((name) => [
      `  ${written(name)}`,
      ...indented(flagSpec(name).usage),
      ...indented(`[${notes(name).join("; ")}]`),
    ]);
    return [`${group}:`, ...entries].join("\n");
  });
  return `${sections.join("\n\n")}\n
A flag may have one dash or two, and its value behind = or a space (booleans:
only =). The command line wins over the environment. An empty value counts as
not given.
`;
}

/** Within 80 columns, as far as a word fits there. */
function indented(text: string): string[] {
  return Bun.wrapAnsi(text, 74, { trim: true, hard: false })
    .split("\n")
    .map((line) => `      ${line}`);
}

/** The README's reference: one table of all flags. */
export function flagReferenceMarkdown(): string {
  const rows = [...groups()].flatMap(([group, names]) => [
    ["", `**${group}**`, "", "", ""],
    ...names.map((name) => {
      const { type, usage, notYet, repeatable, default: value } = flagSpec(name);
      const meaning = `${usage}${repeatable ? "; repeatable" : ""}${notYet ? "; *not available in this build*" : ""}`;
      const env = envNameOf(name);
      return [
        code(dashed(name)),
        meaning,
        code(type.label),
        value === undefined ? "" : code(value),
        env ? code(env) : "",
      ];
    }),
  ]);
  const head = ["Flag", "Meaning", "Value", "Default", "Environment"];
  const line = (cells: string[]) => `| ${cells.map((cell) => cell.replaceAll("|", "\\|")).join(" | ")} |`;
  return [line(head), line(head.map(() => "---")), ...rows.map(line), ""].join("\n");
}

function code(text: string): string {
  return `\`${text}\``;
}

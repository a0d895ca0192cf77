import type { Model, Value, Word } from "./model.ts";

export function fishScript({ commands, flags }: Model): string {
  const top = "__fish_use_subcommand";
  const lines = [
    "complete -c tartan -f",
    ...commands.map(({ name, summary }) => `complete -c tartan -n ${top} -a ${quote(name)} -d ${quote(summary)}`),
    ...flags.map((word) => optionLine(top, word)),
  ];
  for (const { name, options, args } of commands) {
    const condition = `__fish_seen_subcommand_from ${name}`;
    lines.push(...options.map((word) => optionLine(quote(condition), word)));
    const choices = args.flatMap((value) => value.choices);
    if (choices.length > 0) lines.push(`complete -c tartan -n ${quote(condition)} -a ${quote(choices.join(" "))}`);
  }
  return `# fish completion for tartan; made by: tartan completion fish\n${lines.join("\n")}\n`;
}

function optionLine(condition: string, { spellings, usage, value }: Word): string {
  const names = spellings.map((one) => (one.startsWith("--") ? `-l ${one.slice(2)}` : `-s ${one.slice(1)}`));
  return `complete -c tartan -n ${condition} ${names.join(" ")}${value === undefined ? "" : taken(value)} -d ${quote(usage)}`;
}

function taken({ choices, isFile }: Value): string {
  if (isFile) return " -r -F";
  return choices.length === 0 ? " -x" : ` -x -a ${quote(choices.join(" "))}`;
}

function quote(text: string): string {
  return `'${text.replaceAll("\\", "\\\\").replaceAll("'", "\\'")}'`;
}

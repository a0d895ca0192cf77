import { Hole, isList, Spread, type Tree, When } from "./tree.ts";
import { toYaml } from "./yaml.ts";

/** A word that no manifest has in it. */
const WORD = "tartan_hole_";
const LINE = new RegExp(`^( *)(- |)(?:(.*): )?${WORD}(\\d+)(?:: "")?$`);

/** The Helm template of one object: YAML first, with a word in place of each hole, then an expression for each word. */
export function toTemplate(tree: Tree): string {
  const lines: string[] = [];
  /** conditions around */
  const given: string[] = [];
  const holes: ((indent: string, key: string | undefined) => string[])[] = [];
  const word = (write: (indent: string, key: string | undefined) => string[]): string =>
    `${WORD}${holes.push(write) - 1}`;

  const worded = (node: Tree): unknown => {
    if (node instanceof Hole) return word((indent, key) => hole(node, indent, key));
    if (node instanceof Spread || node instanceof When) throw new Error("entries without a list or a map around them");
    if (isList(node)) return node.flatMap(entriesOf);
    if (typeof node !== "object") return node;
    return Object.fromEntries(Object.entries(node).flatMap(pairsOf));
  };
  const entriesOf = (entry: Tree): unknown[] => {
    if (entry instanceof Spread) return [spreadWord(entry)];
    if (!(entry instanceof When)) return [worded(entry)];
    if (!isList(entry.entries)) throw new Error(`${entry.condition}: a map's entries in a list`);
    const { entries } = entry;
    const [start, inner, end] = condition(entry, () => entries.flatMap(entriesOf));
    return [start, ...inner, end];
  };
  const pairsOf = ([key, entry]: readonly [string, Tree]): [string, unknown][] => {
    if (entry instanceof Spread) return [[spreadWord(entry), ""]];
    if (!(entry instanceof When)) return [[key, worded(entry)]];
    if (isList(entry.entries)) throw new Error(`${entry.condition}: a list's entries in a map`);
    const { entries } = entry;
    const [start, inner, end] = condition(entry, () => Object.entries(entries).flatMap(pairsOf));
    return [[start, ""], ...inner, [end, ""]];
  };
  const condition = <T>(when: When, inside: () => T): readonly [string, T, string] => {
    const start = word((indent) => [`${indent}{{- if ${when.condition} }}`]);
    given.push(when.condition);
    const inner = inside();
    given.pop();
    return [start, inner, word((indent) => [`${indent}{{- end }}`])];
  };
  const spreadWord = ({ expression }: Spread): string => {
    const isGiven = given.includes(expression);
    return word((indent) => {
      const entries = `${indent}{{- toYaml ${isGiven ? expression : "."} | nindent ${indent.length} }}`;
      return isGiven ? [entries] : [`${indent}{{- with ${expression} }}`, entries, `${indent}{{- end }}`];
    });
  };

  for (const line of toYaml(worded(tree)).split("\n")) {
    const [, indent = "", dash = "", key, number] = LINE.exec(line) ?? [];
    const write = number === undefined ? undefined : holes[Number(number)];
    // Braces that are Prometheus' or Grafana's are not for Helm.
    if (write === undefined) lines.push(line.replaceAll("{{", '{{ "{{" }}'));
    // The first key of a map in a list stands behind the dash, an entry of the list in its place.
    else lines.push(...write(indent, dash && key === undefined ? dash : key && `${dash}${key}: `));
  }
  return lines.join("\n");
}

function hole({ expression, block }: Hole, indent: string, start = ""): string[] {
  if (!block) return [`${indent}${start}{{ ${expression} }}`];
  return [`${indent}${start}|`, `${indent}  {{- ${expression} | nindent ${indent.length + 2} }}`];
}

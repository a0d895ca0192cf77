import * as v from "valibot";
import { EventKind } from "../api/events.ts";
import { RESOURCES, type ResourceName } from "../api/resources.ts";
import { FamilyName } from "../api/values.ts";
import { UsageError } from "../base/errors.ts";
import { mustBe } from "../config/schema.ts";
import { AGENT_OPTIONS, AgentClient, pathOf } from "./client.ts";
import { alignedHelp, type CommandSpec, HELP, optionsHelp, parseOptions } from "./options.ts";
import { paintedTable, print, printJson, screenOf } from "./output.ts";

/** `tartan get`: one resource of the agent as it is. */

const NAMES = Object.keys(RESOURCES) as [ResourceName, ...ResourceName[]];

const filter = (usage: string, suggestions: readonly string[] = []) => ({
  value: "VALUE",
  usage,
  suggestions,
  schema: v.optional(v.string()),
});

const OPTIONS = {
  output: {
    short: "o",
    value: "FORMAT",
    usage: "json (if not given), yaml, or wide: lists as a table",
    schema: v.optional(v.picklist(["json", "yaml", "wide"], mustBe("json, yaml or wide")), "json"),
  },
  family: filter("of lists: only ipv4 or ipv6", FamilyName.options),
  node: filter("of lists: only this node's, by name or by its lease's key"),
  kind: filter("of events: only these kinds, separated by commas", EventKind.options),
  since: filter("of events: only those after this id or time"),
  ...AGENT_OPTIONS,
  help: HELP,
};
const ARGS = {
  resource: { usage: `one of ${NAMES.join(", ")}`, schema: v.picklist(NAMES, mustBe(`one of ${NAMES.join(", ")}`)) },
  name: { usage: "of peer: the node's name, or its lease's key", schema: v.optional(v.string()) },
};
export const GET: CommandSpec = { options: OPTIONS, args: ARGS };

const TEXT = `Usage: tartan get [OPTION]... RESOURCE [NAME]

Prints what the agent's debug API says about RESOURCE, of lists all pages.

Resources:
${alignedHelp(Object.entries(RESOURCES).map(([name, { summary }]) => [name, summary]))}

Options:
${optionsHelp(OPTIONS)}

Examples:
  tartan get leases -o yaml
  tartan get peer n2
  tartan get kernel --node n2 -o wide

Exit code: 0; 1 the agent refuses, with the reason; 2 wrong options; 3 the agent
does not answer.
`;

const FILTERS = ["family", "node", "kind", "since"] as const;

const List = v.looseObject({ items: v.array(v.record(v.string(), v.unknown())) });

/** @returns the exit code @throws UsageError, AgentAwayError, Error with what the agent answers */
export async function runGet(args: readonly string[]): Promise<number> {
  const options = parseOptions(OPTIONS, args, ARGS);
  if (options.help) {
    await print(TEXT);
    return 0;
  }
  const { resource, name, output } = options;
  const { path, query } = RESOURCES[resource];
  const takesName = path.includes(":node");
  if (takesName && name === undefined) throw new UsageError("NAME is missing: the node's name, or its lease's key");
  if (!takesName && name !== undefined)
    throw new UsageError(`${resource} has no parts with names; to filter a list use --node=${name}`);
  for (const each of FILTERS) {
    if (options[each] !== undefined && !query.some((known) => known === each))
      throw new UsageError(`${resource} can't be filtered by --${each}`);
  }
  const { family, node, kind, since } = options;
  const answer = await new AgentClient(options).whole(pathOf(resource, { family, node, kind, since }, name));
  if (output === "json") await printJson(answer);
  else if (output === "yaml") await print(`${Bun.YAML.stringify(answer, null, 2)}\n`);
  else await print(wideText(answer));
  return 0;
}

/** A list as a table of all that its items have, anything else line by line. */
export function wideText(answer: unknown): string {
  const rows = v.is(List, answer)
    ? answer.items.map((item) => flat(item))
    : [...flat(answer)].map(
        ([field, value]) =>
          new Map([
            ["field", field],
            ["value", value],
          ]),
      );
  const titles = [...new Set(rows.flatMap((row) => [...row.keys()]))];
  const screen = screenOf(process.stdout, true);
  const cells = rows.map((row) => ({ cells: titles.map((title) => row.get(title) ?? "-") }));
  if (rows.length === 0) return "none\n";
  return `${paintedTable(
    titles.map((title) => ({ title: title.toUpperCase() })),
    cells,
    screen,
  ).join("\n")}\n`;
}

/** Fields of objects in objects, with dots between their names. */
function flat(value: unknown, prefix = ""): Map<string, string> {
  const fields = new Map<string, string>();
  if (
    typeof value !== "object" ||
    value === null ||
    (Array.isArray(value) && value.every((one) => typeof one !== "object"))
  ) {
    return fields.set(prefix, Array.isArray(value) ? value.join(" ") || "-" : String(value ?? "-"));
  }
  for (const [key, one] of Object.entries(value)) {
    for (const [name, text] of flat(one, prefix === "" ? key : `${prefix}.${key}`)) fields.set(name, text);
  }
  return fields;
}
